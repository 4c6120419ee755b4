"""The default training of elbo in PyTorch: `conv` on the bundled MNIST, as whole.py times it.

    python torch_train.py [--epochs N] [--threads N] [--channels-last]

55,000 images to train on in batches of 128, in a new order each epoch, and −ELBO of the other 5,000 after it; Adam (fused), learning rate 1e-3. What
elbo does besides is left out: sheets, report, checkpoints.
"""
import argparse
import gzip
import sys
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests" / "fixtures"))
from presets_torch import PRESETS  # noqa: E402
from torch_step import BATCH, loss  # noqa: E402

VALID = 5000


def images():
    file = HERE.parents[1] / "data" / "mnist" / "train-images-idx3-ubyte.gz"
    pixels = torch.frombuffer(bytearray(gzip.open(file).read()[16:]), dtype=torch.uint8)
    return pixels.reshape(-1, 1, 28, 28).float() / 255


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--channels-last", action="store_true")
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    torch.manual_seed(0)
    memory_format = torch.channels_last if flags.channels_last else torch.contiguous_format
    model = PRESETS["conv"]().to(memory_format=memory_format)
    data = images()
    train, valid = data[:-VALID], data[-VALID:]
    adam = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
    for epoch in range(flags.epochs):
        order, total = torch.randperm(len(train)), 0.0
        for batch in order.split(BATCH):
            x = train[batch].to(memory_format=memory_format)
            adam.zero_grad(set_to_none=True)
            value = loss(model, x)
            value.backward()
            adam.step()
            total += value.item() * len(batch)
        with torch.inference_mode():
            bound = sum(loss(model, x).item() * len(x) for x in valid.split(BATCH)) / len(valid)
        print(f"epoch {epoch + 1}: {total / len(train):.2f} training, {bound:.2f} validation", flush=True)


if __name__ == "__main__":
    main()
