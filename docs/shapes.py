"""Draws the pictures of your own that docs/guide.md trains on: 3,000 coloured shapes as PNG files, in a folder for each kind.

    python3 docs/shapes.py shapes

Needs nothing but Python. The same files every time.
"""
import random
import struct
import sys
import zlib
from pathlib import Path

SIDE = 48
COUNT = 1000  # of each kind


def inside(kind, x, y):
    """Whether the point is in the shape around 0, of radius 1."""
    if kind == "circles":
        return x * x + y * y < 1
    if kind == "squares":
        return max(abs(x), abs(y)) < 0.8
    return -0.6 < y < 1 - 1.6 * abs(x)  # triangles


def picture(kind, draw):
    """RGB bytes, each pixel the mean of 3 x 3 points."""
    shape = [draw.randint(120, 255) for _ in range(3)]
    shape[draw.randrange(3)] = 0  # a strong colour
    grey = draw.randint(0, 110)
    radius = draw.uniform(0.2, 0.4)
    cx, cy = (draw.uniform(radius, 1 - radius) for _ in range(2))
    points = [-1 / 3, 0, 1 / 3]
    rows = []
    for row in range(SIDE):
        for column in range(SIDE):
            hits = sum(
                inside(kind, ((column + 0.5 + dx) / SIDE - cx) / radius, -((row + 0.5 + dy) / SIDE - cy) / radius)
                for dx in points for dy in points
            )
            rows.extend(round((hits * c + (9 - hits) * grey) / 9) for c in shape)
    return bytes(rows)


def write_png(path, rgb):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    lines = b"".join(b"\0" + rgb[i:i + 3 * SIDE] for i in range(0, len(rgb), 3 * SIDE))
    header = struct.pack(">2I5B", SIDE, SIDE, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b""))


def main():
    root, draw = Path(sys.argv[1]), random.Random(0)
    for kind in ("circles", "squares", "triangles"):
        (root / kind).mkdir(parents=True)
        for number in range(COUNT):
            write_png(root / kind / f"{number:04}.png", picture(kind, draw))


main()
