"""The network of the preset conv with byte likelihoods, trained by PyTorch on MNIST's 256 levels: -ELBO and bits/dim on the test images.

    python benches/peers/discretized_logistic.py [--likelihood NAME ...] [--epochs N] [--steps N] [--threads N] [--seed N]

NAME is discretized-logistic, logistic-mixture (5 components) or beta-binomial; the first two by default. Needs torch and numpy. The recipe is that of
`elbo train --preset conv --likelihood NAME --valid 0`: Z = 32, all 60,000 training images, batches of 128, Adam at 1e-3, 10 epochs, sums over
pixels and latents, means over images; the judgement that of `elbo eval`: one draw for each of the 10,000 test images. --steps N stops
after N steps and judges 1,000 images, to see that it works.

The network is that of tests/fixtures/presets_torch.py with m channels out, and the formulas are written for stability as PyTorch
programs have them (Salimans et al. 2017, the PixelCNN++ code); tests/fixtures/make_likelihood_fixtures.py has the definitions, and
the first batch is held to these here.
"""
import argparse
import gzip
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "fixtures"))
import make_likelihood_fixtures as definitions  # noqa: E402
from presets_torch import Conv  # noqa: E402

BATCH, LATENT, COMPONENTS, LEARNING_RATE = 128, 32, 5, 1e-3


def ln_logistic(mean, log_scale, byte):
    """ln of the mass of a byte's bin, in bins: edges a and b = a + delta."""
    inverse_scale = (-log_scale.clamp(-definitions.LOG_SCALE, definitions.LOG_SCALE)).exp()
    delta = inverse_scale * (2 / 255)
    centre = (byte - 127.5 * (mean + 1)) * delta
    below, above = F.softplus(centre - delta / 2), F.softplus(-centre - delta / 2)
    inside = torch.log(-torch.expm1(-delta)) - below - above
    return torch.where(byte == 0, -above, torch.where(byte == 255, -below, inside))


def discretized_logistic(output, byte):
    mean, log_scale = output.chunk(2, dim=1)
    return -ln_logistic(mean, log_scale, byte)


def logistic_mixture(output, byte):
    logits, means, log_scales = output.unflatten(1, (3, COMPONENTS, -1)).unbind(1)
    return -torch.logsumexp(F.log_softmax(logits, 1) + ln_logistic(means, log_scales, byte[:, None]), 1)


def beta_binomial(output, byte):
    # In double precision: the terms reach 2,000 nats and cancel to a few.
    return definitions.beta_binomial(output.double(), byte.double() / 255)[0].float()


LIKELIHOODS = {  # name: (numbers for each pixel, nats of each pixel, the definition)
    "discretized-logistic": (2, discretized_logistic, definitions.discretized_logistic),
    "logistic-mixture": (3 * COMPONENTS, logistic_mixture, definitions.logistic_mixture),
    "beta-binomial": (2, beta_binomial, definitions.beta_binomial),
}


class ByteConv(Conv):
    """The preset conv with m numbers for each pixel, as they are."""

    def __init__(self, numbers):
        super().__init__(latent=LATENT)
        self.decoder.deconv2 = torch.nn.ConvTranspose2d(self.widths[0], numbers * self.channels, 4, 2, 1)


def images(name):
    data = gzip.decompress((ROOT / "data" / "mnist" / f"{name}-images-idx3-ubyte.gz").read_bytes())
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=16).reshape(-1, 1, 28, 28).copy())


def nats(model, formula, bytes_):
    """Reconstruction and KL of each image, with one draw."""
    byte = bytes_.float()
    mu, log_variance = model.encode(byte / 255)
    log_variance = log_variance.clamp(-20, 20)
    z = mu + torch.exp(0.5 * log_variance) * torch.randn_like(mu)
    kl = 0.5 * (mu * mu + log_variance.exp() - 1 - log_variance).sum(1)
    return formula(model.decode(z), byte).flatten(1).sum(1), kl


def check(numbers, formula, definition):
    """The stable formula is the definition, in double precision and where that has digits."""
    definitions.COMPONENTS = COMPONENTS
    generator = torch.Generator().manual_seed(1)
    output = torch.randn(8, numbers, 28, 28, dtype=torch.float64, generator=generator)
    byte = torch.randint(0, 256, (8, 1, 28, 28), generator=generator).double()
    expected, found = definition(output, byte / 255)[0], formula(output, byte)
    worst = ((found - expected).abs() / expected.abs().clamp(min=1)).max().item()
    assert worst < (1e-6 if found.dtype == torch.float32 else 1e-7), f"the formula is off by {worst}"


@torch.inference_mode()
def judge(model, formula, test):
    sums = torch.zeros(2, dtype=torch.float64)
    for batch in test.split(500):
        sums += torch.stack([values.double().sum() for values in nats(model, formula, batch)])
    reconstruction, kl = (sums / len(test)).tolist()
    elbo = reconstruction + kl
    return f"-ELBO {elbo:.3f} nats ({reconstruction:.3f} + {kl:.3f}), {elbo / (28 * 28 * math.log(2)):.4f} bits/dim, {len(test)} images"


def train(name, flags):
    numbers, formula, definition = LIKELIHOODS[name]
    check(numbers, formula, definition)
    torch.manual_seed(flags.seed)
    model, train_images, test = ByteConv(numbers), images("train"), images("t10k")
    adam = torch.optim.Adam(model.parameters(), LEARNING_RATE, fused=True)
    started, steps = time.perf_counter(), 0
    for epoch in range(flags.epochs):
        total, seen = 0.0, 0
        for indices in torch.randperm(len(train_images)).split(BATCH):
            adam.zero_grad(set_to_none=True)
            loss = sum(nats(model, formula, train_images[indices])).mean()
            loss.backward()
            adam.step()
            total, seen, steps = total + loss.item() * len(indices), seen + len(indices), steps + 1
            if steps == flags.steps:
                print(f"{name}: {steps} steps, loss {loss.item():.3f}, test {judge(model, formula, test[:1000])}", flush=True)
                return
        seconds = time.perf_counter() - started
        print(f"{name}: epoch {epoch + 1}, {seconds:.0f} s, loss {total / seen:.3f}, test {judge(model, formula, test)}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--likelihood", nargs="+", choices=LIKELIHOODS, default=list(LIKELIHOODS)[:2])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--steps", type=int, help="stop after so many steps")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    print(f"PyTorch {torch.__version__}, {flags.threads} threads", flush=True)
    for name in flags.likelihood:
        train(name, flags)


if __name__ == "__main__":
    main()
