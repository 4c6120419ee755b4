"""Whole processes in turns: loading pictures against Pillow, and the default training against PyTorch.

    python3 benches/peers/whole.py loading [--files N] [--rounds N]
    python3 benches/peers/whole.py training [--epochs N] [--rounds N]

Needs cargo; loading needs numpy and Pillow, training torch. Each side is a process of its own, from its start to its end. The JPEG
files are drawn by this script into a temporary folder: smooth pictures of 64×64 with some noise, quality 90.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ELBO = ROOT / "target" / "release" / "elbo"

PILLOW = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np
from PIL import Image
files = sorted(Path(sys.argv[1]).rglob("*.jpg"))
load = lambda file: np.asarray(Image.open(file).convert("RGB"))
threads = int(sys.argv[2])
if threads == 1:
    images = np.stack([load(file) for file in files])
else:
    with ThreadPoolExecutor(threads) as pool:
        images = np.stack(list(pool.map(load, files, chunksize=256)))
print(images.shape)
"""


def draw(folder, count):
    import numpy as np
    from PIL import Image

    numbers = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64] / 64
    for at in range(count):
        waves = numbers.uniform(-6, 6, (3, 3))
        picture = np.stack([127 + 90 * np.sin(a * x + b * y + c) for a, b, c in waves], -1) + numbers.normal(0, 8, (64, 64, 3))
        group = folder / f"{at // 1000:03}"
        group.mkdir(exist_ok=True)
        Image.fromarray(picture.clip(0, 255).astype("uint8")).save(group / f"{at:06}.jpg", quality=90)


def seconds(command):
    start = time.perf_counter()
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def in_turns(sides, rounds):
    times = {name: [] for name in sides}
    for _ in range(rounds):
        for name, command in sides.items():
            times[name].append(seconds(command()))
    ours = median(times["elbo"])
    for name, values in times.items():
        print(f"{name:28} {median(values):8.2f} s   ({min(values):.2f} to {max(values):.2f})   {median(values) / ours:5.2f} times elbo's")


def loading(flags):
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), flags.files)
        pillow = lambda threads: lambda: [sys.executable, "-c", PILLOW, folder, str(threads)]
        # `info` reads every picture, as training does.
        elbo = lambda: [str(ELBO), "info", folder]
        in_turns({"elbo": elbo, "Pillow, one thread": pillow(1), "Pillow, two threads": pillow(2)}, flags.rounds)


def training(flags):
    with tempfile.TemporaryDirectory() as folder:
        runs = iter(range(10**6))
        epochs = ["--epochs", str(flags.epochs)]
        elbo = lambda: [str(ELBO), "train", "--threads", "2", *epochs, "--out", f"{folder}/{next(runs)}"]
        torch = lambda *more: lambda: [sys.executable, str(HERE / "torch_train.py"), *epochs, *more]
        in_turns({"elbo": elbo, "PyTorch": torch(), "PyTorch, channels-last": torch("--channels-last")}, flags.rounds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["loading", "training"])
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    flags = parser.parse_args()
    subprocess.run(["cargo", "build", "--release", "--locked"], cwd=ROOT, check=True)
    {"loading": loading, "training": training}[flags.what](flags)


if __name__ == "__main__":
    main()
