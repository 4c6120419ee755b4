"""Checks that the PyTorch modules that are timed are elbo's networks: run by compare.py, needs torch and numpy.

tests/fixtures/torch_*.json hold parameter counts and losses of given weights; `cargo test --test torch_fixture` holds elbo to them.
Here the modules are built again as torch_step.py builds them, given the same weights, images and noise, and must come to the
same count and the same loss.
"""
import json
import sys
from pathlib import Path

import numpy as np
import torch

FIXTURES = Path(__file__).resolve().parents[2] / "tests" / "fixtures"
sys.path.insert(0, str(FIXTURES))
import torch_step  # noqa: E402
from presets_torch import PRESETS  # noqa: E402


def unit(t, n):
    """u of tensor t, i = 0..n-1: the formula at the head of make_torch_fixtures.py."""
    with np.errstate(over="ignore"):
        h = np.arange(n, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        h += np.uint64(((t + 1) * 0xBF58476D1CE4E5B9) % 2**64)
        h ^= h >> np.uint64(31)
        h *= np.uint64(0x94D049BB133111EB)
        h ^= h >> np.uint64(29)
    return (h >> np.uint64(11)).astype(np.float64) * 2.0**-53


def tensor(values, *shape):
    return torch.from_numpy(values.astype(np.float32).astype(np.float64).reshape(shape))


def check(case):
    f = json.loads((FIXTURES / f"torch_{case}.json").read_text())
    batch, size = f["batch"], (f["height"], f["width"], f["channels"])
    model = PRESETS[f["preset"]]().double()
    assert (model.height, model.width, model.channels, model.latent) == (*size, f["latent"]), "another size than the one timed"
    count = sum(p.numel() for p in model.parameters())
    assert count == f["parameters"], f"{case}: {count} parameters, elbo has {f['parameters']}"
    with torch.no_grad():
        for t, (name, p) in enumerate(model.named_parameters()):
            p.copy_(tensor((2 * unit(t, p.numel()) - 1) * f["scales"][name], *p.shape))
        pixels = unit(1000, batch * size[0] * size[1] * size[2])
        x = tensor(pixels if f["likelihood"] == "bernoulli" else 2 * pixels - 1, batch, *size).permute(0, 3, 1, 2)
        noise = tensor((2 * unit(2000, batch * f["latent"]) - 1) * 3**0.5, batch, f["latent"])
        torch.randn_like = lambda mu: noise  # the draw that the fixture made
        loss = torch_step.loss(model, x).item()
    assert abs(loss - f["loss"]) <= 1e-9 * abs(f["loss"]), f"{case}: loss {loss}, elbo has {f['loss']}"
    print(f"{case}: {count} parameters, loss {loss:.6f} from the same weights: the same network")


for name in sys.argv[1:] or ["conv", "article"]:
    check(name)
