"""A PyTorch peer for elbo's training step and generation, run by compare.py.

    python torch_step.py PRESET MODE [--threads N]

PRESET is conv, mlp, article or residual, MODE eager, channels_last, compile or compile+channels_last, each also with +bf16 (automatic mixed
precision: products and convolutions in bfloat16), or sample+ and one of these. The networks
are those of tests/fixtures/presets_torch.py, which `cargo test --test torch_fixture` holds elbo's to. The process
gets ready (compiles, warms up), prints `ready`, and then answers every line `N SECONDS` on its standard input with one line of
JSON: the seconds of at most N runs, at least one, in about as much time as that. Between requests it sleeps, so that others can be timed.

A run is a training step as elbo does it: fresh noise, forward, loss, backward, the gradient's norm left out (PyTorch would
need a pass for each tensor), Adam (the fused one); batch 128 of 28x28 images. With sample, it is 10,000 images from noise, 125 at a time.
"""
import argparse
import json
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "fixtures"))
from presets_torch import PRESETS  # noqa: E402

BATCH, GENERATED, AT_ONCE = 128, 10_000, 125


def loss(model, x):
    """Reconstruction + KL, summed over pixels and latents, averaged over images."""
    mu, log_variance = model.encode(x)
    z = mu + torch.exp(0.5 * log_variance) * torch.randn_like(mu)
    output = model.decode(z)
    if model.likelihood == "bernoulli":
        reconstruction = F.binary_cross_entropy_with_logits(output, x, reduction="sum")
    else:
        reconstruction = F.mse_loss(output, x, reduction="sum")
    kl = 0.5 * (mu * mu + log_variance.exp() - 1 - log_variance).sum()
    return (reconstruction + kl) / len(x)


def training(model, modes):
    x = torch.rand(BATCH, model.channels, model.height, model.width)
    if "channels_last" in modes:
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    objective = torch.compile(loss) if "compile" in modes else loss
    precision = torch.autocast("cpu", torch.bfloat16, enabled="bf16" in modes)
    adam = torch.optim.Adam(model.parameters(), 1e-3, fused=True)

    def step():
        adam.zero_grad(set_to_none=True)
        with precision:
            value = objective(model, x)
        value.backward()
        adam.step()

    return step


def sampling(model, modes):
    if "channels_last" in modes:
        model = model.to(memory_format=torch.channels_last)
    images = torch.compile(lambda z: model.mean(model.decode(z))) if "compile" in modes else lambda z: model.mean(model.decode(z))

    @torch.inference_mode()
    def generate():
        for _ in range(GENERATED // AT_ONCE):
            images(torch.randn(AT_ONCE, model.latent))

    return generate


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset", choices=sorted(PRESETS))
    parser.add_argument("mode")
    parser.add_argument("--threads", type=int, default=2)
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    torch.manual_seed(0)
    modes = flags.mode.split("+")
    model = PRESETS[flags.preset]()
    run = sampling(model, modes) if "sample" in modes else training(model, modes)
    for _ in range(1 if "sample" in modes else 5):
        run()
    print("ready", flush=True)
    for line in sys.stdin:
        most, seconds = line.split()
        times, started = [], time.perf_counter()
        run()  # wakes the threads
        while not times or (len(times) < int(most) and time.perf_counter() - started < float(seconds)):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main()
