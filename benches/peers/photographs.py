"""64×64 colour crops of photographs, for `elbo train` and `elbo compress`: OUT/train.npy and OUT/test.npy.

    python3 benches/peers/photographs.py OUT

Needs numpy, Pillow, and Debian's apt-get and dpkg-deb: the photographs are those of four wallpaper packages, which are fetched into OUT. Each photograph is
reduced to 720 pixels on its shorter side, so that little is left of its JPEG blocks, and cut into crops side by side. Every fifth photograph is
held out whole: no crop in test.npy has a neighbour in train.npy.
"""

import glob
import os
import subprocess
import sys

import numpy as np
from PIL import Image

SIZE, SIDE, HELD_OUT = 64, 720, 5
PACKAGES = ["lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04", "mate-backgrounds", "plasma-workspace-wallpapers"]
# Of the packages that have drawings too, only these are photographs.
PHOTOGRAPHS = {
    "mate-backgrounds": ["nature/*"],
    "plasma-workspace-wallpapers": [
        f"{name}/contents/images/*"
        for name in "BytheWater ColdRipple ColorfulCups DarkestHour EveningGlow FallenLeaf Grey Kite OneStandsOut Path Volna summer_1am".split()
    ],
}


def unpack(folder):
    os.makedirs(folder, exist_ok=True)
    for package in PACKAGES:
        target = os.path.join(folder, package)
        if not os.path.isdir(target):
            subprocess.run(["apt-get", "download", package], cwd=folder, check=True)
            (file,) = glob.glob(os.path.join(folder, package + "_*.deb"))
            subprocess.run(["dpkg-deb", "-x", file, target], check=True)


def files(folder):
    """One file for each photograph: its largest."""
    found = {}
    for package in PACKAGES:
        for pattern in PHOTOGRAPHS.get(package, ["*"]):
            for file in glob.glob(os.path.join(folder, package, "**", pattern), recursive=True):
                if file.lower().endswith((".jpg", ".jpeg", ".png")):
                    name = file.split("/contents/")[0] if "/contents/" in file else file
                    found.setdefault(name, []).append(file)
    return [max(found[name], key=os.path.getsize) for name in sorted(found)]


def crops(file):
    image = Image.open(file).convert("RGB")
    scale = SIDE / min(image.size)
    image = image.resize([max(SIDE, round(side * scale)) for side in image.size], Image.LANCZOS)
    pixels = np.asarray(image)
    rows, columns = pixels.shape[0] // SIZE, pixels.shape[1] // SIZE
    cut = pixels[: rows * SIZE, : columns * SIZE].reshape(rows, SIZE, columns, SIZE, 3)
    return cut.swapaxes(1, 2).reshape(-1, SIZE, SIZE, 3)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = sys.argv[1]
    unpack(folder)
    photographs = files(folder)
    for part, held_out in (("train", False), ("test", True)):
        chosen = [file for at, file in enumerate(photographs) if (at % HELD_OUT == HELD_OUT - 1) == held_out]
        images = np.concatenate([crops(file) for file in chosen])
        np.save(os.path.join(folder, part + ".npy"), images)
        print(f"{part}.npy: {len(images)} crops of {len(chosen)} photographs")


if __name__ == "__main__":
    main()
