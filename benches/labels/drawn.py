"""Pictures that the table draws: letters, shapes, and defects in images. N x 28 x 28 bytes, white on black like the digits."""
import numpy as np

SIDE = 28
# Strokes of capital letters in a square of -1 to 1, y downwards: each a polyline.
LETTERS = {
    "A": [[(-0.8, 1), (0, -1), (0.8, 1)], [(-0.45, 0.2), (0.45, 0.2)]],
    "E": [[(0.7, -1), (-0.7, -1), (-0.7, 1), (0.7, 1)], [(-0.7, 0), (0.5, 0)]],
    "F": [[(0.7, -1), (-0.7, -1), (-0.7, 1)], [(-0.7, 0), (0.5, 0)]],
    "H": [[(-0.7, -1), (-0.7, 1)], [(0.7, -1), (0.7, 1)], [(-0.7, 0), (0.7, 0)]],
    "K": [[(-0.7, -1), (-0.7, 1)], [(0.7, -1), (-0.7, 0.1), (0.7, 1)]],
    "M": [[(-0.8, 1), (-0.8, -1), (0, 0.3), (0.8, -1), (0.8, 1)]],
    "N": [[(-0.7, 1), (-0.7, -1), (0.7, 1), (0.7, -1)]],
    "R": [[(-0.7, 1), (-0.7, -1), (0.5, -1), (0.7, -0.5), (0.5, 0), (-0.7, 0)], [(0, 0), (0.7, 1)]],
    "T": [[(-0.8, -1), (0.8, -1)], [(0, -1), (0, 1)]],
    "W": [[(-0.9, -1), (-0.45, 1), (0, -0.3), (0.45, 1), (0.9, -1)]],
    "X": [[(-0.7, -1), (0.7, 1)], [(0.7, -1), (-0.7, 1)]],
    "Y": [[(-0.7, -1), (0, 0), (0.7, -1)], [(0, 0), (0, 1)]],
}
ROWS, COLUMNS = np.mgrid[0:SIDE, 0:SIDE] + 0.5


def bytes_of(coverage):
    return np.round(255 * np.clip(coverage, 0, 1)).astype(np.uint8)


def letter(draw):
    """One letter, turned, slanted and scaled by chance, with strokes of a chance width."""
    strokes = list(LETTERS.values())[draw.integers(len(LETTERS))]
    angle, slant = draw.uniform(-0.2, 0.2), draw.uniform(-0.3, 0.3)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    place = turn @ np.array([[1, slant], [0, 1]]) @ np.diag(draw.uniform([6, 7.5], [8, 9.5]))
    centre, width = SIDE / 2 + draw.uniform(-1, 1, 2), draw.uniform(0.8, 1.6)
    distance = np.full((SIDE, SIDE), np.inf)
    for stroke in strokes:
        points = np.array(stroke) @ place.T + centre
        for (ax, ay), (bx, by) in zip(points, points[1:]):
            along = ((COLUMNS - ax) * (bx - ax) + (ROWS - ay) * (by - ay)) / ((bx - ax) ** 2 + (by - ay) ** 2)
            along = np.clip(along, 0, 1)
            distance = np.minimum(distance, np.hypot(COLUMNS - ax - along * (bx - ax), ROWS - ay - along * (by - ay)))
    return bytes_of(width + 0.5 - distance)


def shape(draw):
    """One filled circle, square or triangle, of a chance size, place, turn and grey."""
    radius, grey, angle = draw.uniform(4, 9), draw.uniform(0.4, 1), draw.uniform(0, 2 * np.pi)
    centre = draw.uniform(radius, SIDE - radius, 2)
    x, y = COLUMNS - centre[0], ROWS - centre[1]
    x, y = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    kind = draw.integers(3)
    if kind == 0:
        outside = np.hypot(x, y) - radius
    elif kind == 1:
        outside = np.maximum(abs(x), abs(y)) - 0.75 * radius
    else:
        sides = [x * np.cos(a) + y * np.sin(a) for a in np.array([0, 2, 4]) * np.pi / 3]
        outside = np.max(sides, axis=0) - 0.5 * radius
    return bytes_of(grey * np.clip(0.5 - outside, 0, 1))


def pictures(one, count, seed):
    draw = np.random.default_rng(seed)
    return np.stack([one(draw) for _ in range(count)])


def defects(images, seed):
    """A box of 4 to 8 pixels a side in each image is filled with a grey that differs from what was there by at least 0.3 in the mean.

    Returns the images and the boxes, rows of y, x, height, width.
    """
    draw, changed, boxes = np.random.default_rng(seed), images.copy(), []
    for image in changed:
        while True:
            height, width = draw.integers(4, 9, 2)
            y, x = draw.integers(2, SIDE - 2 - height + 1), draw.integers(2, SIDE - 2 - width + 1)
            grey, there = draw.integers(0, 256), image[y:y + height, x:x + width]
            if abs(there.astype(float) - grey).mean() >= 0.3 * 255:
                there[:] = grey
                boxes.append((y, x, height, width))
                break
    return changed, np.array(boxes)


def overlap(a, b):
    """Intersection over union of two boxes y, x, height, width."""
    height = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    width = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(height, 0) * max(width, 0)
    return both / (a[2] * a[3] + b[2] * b[3] - both)
