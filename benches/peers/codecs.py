"""Image codecs against `elbo compress`: bytes without loss, and with --lossy the quality at each size.

    python3 benches/peers/codecs.py IMAGES.npy|IDX[.gz] [--elbo FILE.elbo ...]
    python3 benches/peers/codecs.py IMAGES --lossy ORIGINALS_DECODED.npy:FILE.elbo ...

Needs numpy and Pillow; JPEG XL is measured if `cjxl` is in the PATH. Each picture alone: PNG, WebP, JPEG XL. All bytes in one stream: gzip, bz2, xz.
One sheet: WebP, JPEG XL. For --lossy, SSIM is the mean over 7×7 windows (Wang et al. 2004) and PSNR that of the mean squared error.
"""

import argparse
import bz2
import gzip
import io
import lzma
import math
import os
import shutil
import struct
import subprocess
import tempfile

import numpy as np
from PIL import Image


def load(path):
    """count × height × width (× channels) bytes."""
    if path.endswith(".npy"):
        return np.load(path)
    data = (gzip.open if path.endswith(".gz") else open)(path, "rb").read()
    dimensions = data[3]
    shape = struct.unpack(f">{dimensions}I", data[4 : 4 + 4 * dimensions])
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def encode(picture, kind, **options):
    out = io.BytesIO()
    image = Image.fromarray(picture)
    if kind in ("WEBP", "JPEG") and image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    image.save(out, kind, **options)
    return out.getvalue()


def decode(data, like):
    image = Image.open(io.BytesIO(data))
    return np.asarray(image.convert("L" if like.ndim == 2 else "RGB"))


def jpeg_xl(picture):
    with tempfile.TemporaryDirectory() as folder:
        source, target = os.path.join(folder, "a.png"), os.path.join(folder, "a.jxl")
        Image.fromarray(picture).save(source)
        subprocess.run(["cjxl", source, target, "-d", "0", "-e", "9", "--quiet"], check=True, stderr=subprocess.DEVNULL)
        return os.path.getsize(target)


def sheet(images):
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    height, width = images.shape[1:3]
    canvas = np.zeros((rows * height, columns * width, *images.shape[3:]), np.uint8)
    for at, image in enumerate(images):
        y, x = at // columns * height, at % columns * width
        canvas[y : y + height, x : x + width] = image
    return canvas


def lossless(images, files):
    raw = images.tobytes()
    sizes = {
        "PNG, each": sum(len(encode(i, "PNG", optimize=True)) for i in images),
        "WebP, each": sum(len(encode(i, "WEBP", lossless=True, quality=100, method=6)) for i in images),
        "gzip": len(gzip.compress(raw, 9)),
        "bz2": len(bz2.compress(raw, 9)),
        "xz": len(lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME)),
    }
    whole = sheet(images)
    if max(whole.shape[:2]) <= 16383:
        sizes["WebP, one sheet"] = len(encode(whole, "WEBP", lossless=True, quality=100, method=6))
    if shutil.which("cjxl"):
        sizes["JPEG XL, one sheet"] = jpeg_xl(whole)
    sizes.update({file: os.path.getsize(file) for file in files})
    print(f"{'codec':32} {'bytes':>12} {'bits/dim':>9}")
    for name, size in sorted(sizes.items(), key=lambda item: item[1]):
        print(f"{name:32} {size:12} {8 * size / images.size:9.4f}")


def box(values):
    """Means over 7×7 windows of B × H × W × C."""
    total = np.cumsum(np.cumsum(np.pad(values, ((0, 0), (1, 0), (1, 0), (0, 0))), axis=1), axis=2)
    return (total[:, 7:, 7:] - total[:, :-7, 7:] - total[:, 7:, :-7] + total[:, :-7, :-7]) / 49


def quality(a, b):
    """PSNR in dB and SSIM."""
    a, b = (x.reshape(*x.shape[:3], -1).astype(np.float64) for x in (a, b))
    error = ((a - b) ** 2).mean()
    mean_a, mean_b = box(a), box(b)
    var_a, var_b = box(a * a) - mean_a**2, box(b * b) - mean_b**2
    both = box(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ssim = ((2 * mean_a * mean_b + c1) * (2 * both + c2)) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return (10 * math.log10(255**2 / error) if error else math.inf), ssim.mean()


def lossy(images, pairs):
    rows = []
    for kind in ("JPEG", "WEBP"):
        for level in (0, 1, 5, 10, 25, 50, 75, 90):
            data = [encode(i, kind, quality=level) for i in images]
            decoded = np.stack([decode(d, i) for d, i in zip(data, images)])
            rows.append((f"{kind} {level}", sum(map(len, data)), *quality(images, decoded)))
    for pair in pairs:
        decoded, file = pair.split(":")
        rows.append((file, os.path.getsize(file), *quality(images, np.load(decoded).reshape(images.shape))))
    print(f"{'codec':32} {'bytes/image':>12} {'PSNR':>8} {'SSIM':>8}")
    for name, size, psnr, ssim in sorted(rows, key=lambda row: row[1]):
        print(f"{name:32} {size / len(images):12.1f} {psnr:8.2f} {ssim:8.4f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images")
    parser.add_argument("--elbo", nargs="*", default=[], metavar="FILE.elbo")
    parser.add_argument("--lossy", nargs="*", metavar="DECODED.npy:FILE.elbo")
    arguments = parser.parse_args()
    images = load(arguments.images)
    if arguments.lossy is None:
        lossless(images, arguments.elbo)
    else:
        lossy(images, arguments.lossy)


if __name__ == "__main__":
    main()
