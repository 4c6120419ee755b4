"""Draws the diagrams of the book as SVG files. Their numbers are computed here, not typed.

    python3 docs/diagrams.py            # writes docs/images/book-*.svg
    python3 docs/diagrams.py FOLDER     # writes them there instead

Needs nothing but Python. The same files every time.
"""
import math
import sys
from pathlib import Path

FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images"
INK, GREY, PALE = "#222", "#888", "#eee"
RED, BLUE, GREEN, YELLOW = "#c0392b", "#2f6fb3", "#3b8f4e", "#d9a400"
COLOURS = [BLUE, GREEN, YELLOW, RED]
MINUS = "\u2212"


class Drawing:
    """An SVG file that grows by elements."""

    def __init__(self, name, width, height):
        self.name, self.width, self.height, self.parts = name, width, height, []

    def add(self, element):
        self.parts.append(element)

    def text(self, x, y, text, size=13, colour=INK, anchor="middle", weight="normal", italic=False):
        style = ' font-style="italic"' if italic else ""
        text = str(text).replace("&", "&amp;").replace("<", "&lt;")
        self.add(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}" '
                 f'font-weight="{weight}"{style}>{text}</text>')

    def box(self, x, y, width, height, text="", fill="#fff", stroke=INK, size=13, opacity=1.0, rx=3, colour=INK):
        self.add(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{rx}" fill="{fill}" '
                 f'fill-opacity="{opacity}" stroke="{stroke}"/>')
        if text != "":
            self.text(x + width / 2, y + height / 2 + size * 0.36, text, size, colour)

    def path(self, points, colour=INK, width=1.5, dash="", fill="none", opacity=1.0):
        line = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        dash = f' stroke-dasharray="{dash}"' if dash else ""
        self.add(f'<path d="{line}" fill="{fill}" fill-opacity="{opacity}" stroke="{colour}" '
                 f'stroke-width="{width}"{dash}/>')

    def arrow(self, *points, colour=INK, width=1.5, dash=""):
        """A line through the points with a head at the last."""
        (x0, y0), (x, y) = points[-2:]
        angle = math.atan2(y - y0, x - x0)
        back = [(x - 9 * math.cos(angle + turn), y - 9 * math.sin(angle + turn)) for turn in (0.4, -0.4)]
        self.path(list(points[:-1]) + [(x - 5 * math.cos(angle), y - 5 * math.sin(angle))], colour, width, dash)
        self.path([(x, y), *back, (x, y)], colour, 0.5, fill=colour)

    def grid(self, x, y, cell, rows, fills=None, size=12, colours=None):
        """Numbers in square cells, row by row; `fills` and `colours` by (row, column)."""
        for r, row in enumerate(rows):
            for c, value in enumerate(row):
                fill, opacity = (fills or {}).get((r, c), ("#fff", 1.0))
                self.box(x + c * cell, y + r * cell, cell, cell, "", "#fff", GREY, rx=0)
                self.box(x + c * cell, y + r * cell, cell, cell, value, fill, GREY, size, opacity, 0,
                         (colours or {}).get((r, c), INK))

    def save(self):
        head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}" '
                f'height="{self.height}" font-family="Helvetica, Arial, sans-serif">\n'
                '<rect width="100%" height="100%" fill="#fff"/>\n')
        text = head + "\n".join(self.parts) + "\n</svg>\n"
        (FOLDER / f"book-{self.name}.svg").write_text(text, encoding="utf-8")


class Plot:
    """A coordinate system in a drawing."""

    def __init__(self, drawing, box, x_range, y_range, x_label="", ticks=(), y_ticks=()):
        self.d, (self.x, self.y, self.w, self.h), self.xr, self.yr = drawing, box, x_range, y_range
        for tick in y_ticks:
            y = self.at(0, tick)[1]
            drawing.path([(self.x, y), (self.x + self.w, y)], PALE, 1)
            drawing.text(self.x - 8, y + 4, number(tick), 12, GREY, "end")
        for tick in ticks:
            x = self.at(tick, 0)[0]
            drawing.path([(x, self.y), (x, self.y + self.h)], PALE, 1)
            drawing.text(x, self.y + self.h + 18, number(tick), 12, GREY)
        drawing.path([(self.x, self.y + self.h), (self.x + self.w, self.y + self.h)], GREY, 1)
        drawing.text(self.x + self.w / 2, self.y + self.h + 36, x_label, 13)

    def at(self, x, y):
        (x0, x1), (y0, y1) = self.xr, self.yr
        return self.x + (x - x0) / (x1 - x0) * self.w, self.y + self.h - (y - y0) / (y1 - y0) * self.h

    def curve(self, f, colour, dash="", width=2.2):
        steps = 240
        points, (x0, x1) = [], self.xr
        for i in range(steps + 1):
            x = x0 + (x1 - x0) * i / steps
            if self.yr[0] <= f(x) <= self.yr[1]:
                points.append(self.at(x, f(x)))
        self.d.path(points, colour, width, dash)


def number(value):
    return f"{value:g}".replace("-", MINUS)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def overview():
    d = Drawing("vae", 900, 330)
    y = 130
    d.text(40, y + 5, "x", 18, italic=True)
    d.arrow((55, y - 6), (100, y - 6))
    d.box(100, y - 35, 110, 70, "encoder", "#e8f0fa")
    d.arrow((210, y - 26), (268, y - 26))
    d.arrow((210, y + 18), (268, y + 18))
    d.box(268, y - 44, 72, 36, "\u03bc", size=16)
    d.box(268, y + 2, 72, 36, "s = ln \u03c3\u00b2")
    d.arrow((340, y - 26), (400, y - 10))
    d.arrow((340, y + 18), (400, y + 2))
    d.box(400, y - 30, 132, 52, "z = \u03bc + e^(s/2)\u00b7\u03b5", "#fdf6e3")
    d.text(466, y - 66, "\u03b5 from N(0, 1)", 13, GREY)
    d.arrow((466, y - 58), (466, y - 30), colour=GREY, dash="4 3")
    d.arrow((532, y - 6), (590, y - 6))
    d.box(590, y - 35, 110, 70, "decoder", "#e8f0fa")
    d.arrow((700, y - 6), (752, y - 6))
    d.box(752, y - 40, 128, 70, "", "#eef7ef")
    d.text(816, y - 12, "reconstruction")
    d.text(816, y + 10, MINUS + "ln p(x|z)")
    d.arrow((40, y - 22), (40, 28), (816, 28), (816, y - 40), colour=GREY)
    d.text(430, 22, "the image itself is the target", 12, GREY)
    d.box(262, 236, 150, 62, "", "#eef7ef")
    d.text(337, 262, "divergence")
    d.text(337, 284, "KL(q(z|x) \u2016 p(z))")
    d.arrow((290, y + 38), (290, 236), colour=GREY)
    d.text(278, 210, "\u03bc, s", 12, GREY, "end")
    # The way back.
    red = {"colour": RED, "width": 1.5}
    d.arrow((752, y + 14), (700, y + 14), **red)
    d.text(726, y + 46, "d output", 12, RED)
    d.arrow((590, y + 14), (532, y + 14), **red)
    d.text(561, y + 34, "dz", 13, RED)
    d.arrow((400, y + 16), (340, y + 30), **red)
    d.text(380, y + 42, "dz\u00b7\u00bd\u03c3\u03b5", 12, RED)
    d.arrow((400, y - 22), (340, y - 38), **red)
    d.text(374, y - 42, "dz", 13, RED)
    d.arrow((318, 236), (318, y + 38), **red)
    d.text(328, 210, "\u2202KL/\u2202\u03bc, \u2202KL/\u2202s", 12, RED, "start")
    d.arrow((268, y - 14), (210, y - 14), **red)
    d.arrow((268, y + 30), (210, y + 30), **red)
    d.text(238, y + 4, "d\u03bc, ds", 12, RED)
    d.text(560, 262, "black: forward", 12, INK, "start")
    d.text(560, 282, "red: gradients, backward; if two arrows meet, they are added", 12, RED, "start")
    d.save()


def linear():
    d = Drawing("linear", 840, 230)
    b, n, o = 90, 62, 38  # B, in, out

    def matrix(x, width, height, name, fill):
        d.box(x, 115 - height / 2, width, height, name, fill, size=15)

    def product(x, left, right, result, names, fills, title):
        (lw, lh), (rw, rh), (w, h) = left, right, result
        matrix(x, w, h, names[0], fills[0])
        d.text(x + w + 13, 120, "=", 16)
        matrix(x + w + 26, lw, lh, names[1], fills[1])
        d.text(x + w + lw + 34, 120, "\u00b7", 20)
        matrix(x + w + lw + 42, rw, rh, names[2], fills[2])
        d.text(x + (w + lw + rw + 42) / 2, 30, title, 14)

    x_, w_, y_ = "#e8f0fa", "#fdf6e3", "#eef7ef"
    product(20, (n, b), (o, n), (o, b), ["Y", "X", "W\u1d40"], [y_, x_, w_], "forward")
    product(280, (b, o), (n, b), (n, o), ["dW", "dY\u1d40", "X"], [w_, y_, x_], "weight gradient")
    product(606, (o, b), (n, o), (n, b), ["dX", "dY", "W"], [x_, y_, w_], "input gradient")
    d.text(410, 210, "B images, " "in inputs, out outputs: X is B\u00d7in, W is out\u00d7in, Y is B\u00d7out. "
           "A gradient has the shape of what it belongs to.", 12, GREY)
    d.save()


IMAGE = [[3, 1, 0, 2], [1, 2, 4, 1], [0, 3, 2, 5], [2, 1, 1, 0]]
KERNEL = [[1, 0, -1], [2, 0, -2], [1, 0, -1]]


def signed(value):
    return str(value).replace("-", MINUS)


def im2col():
    d = Drawing("im2col", 900, 290)
    places = [(r, c) for r in range(2) for c in range(2)]
    patch = {place: [IMAGE[place[0] + i][place[1] + j] for i in range(3) for j in range(3)] for place in places}
    w = [value for row in KERNEL for value in row]
    y = [sum(a * b for a, b in zip(patch[place], w)) for place in places]
    d.text(92, 28, "image x, 4\u00d74")
    shown = {(r, c): (BLUE, 0.22) for r in range(3) for c in range(3)}
    d.grid(30, 42, 31, IMAGE, shown)
    d.path([(30, 42), (123, 42), (123, 135), (30, 135), (30, 42)], BLUE, 2.5)
    d.path([(63, 75), (156, 75), (156, 168), (63, 168), (63, 75)], RED, 2.5, "6 3")
    d.text(92, 196, "two of the four places", 12, GREY)
    d.text(92, 212, "of a 3\u00d73 kernel", 12, GREY)
    d.arrow((170, 104), (222, 104))
    d.text(196, 94, "im2col", 12, GREY)
    d.text(372, 28, "X\u0302: a patch in each row, 4\u00d79")
    fills = {(r, c): (BLUE, 0.22) for r in (0,) for c in range(9)}
    fills.update({(3, c): (RED, 0.18) for c in range(9)})
    d.grid(232, 42, 31, [patch[place] for place in places], fills)
    d.text(533, 110, "\u00b7", 22)
    d.text(565, 28, "W\u1d40, 9\u00d71")
    d.grid(552, 42, 25, [[signed(value)] for value in w], size=11)
    d.text(604, 110, "=", 18)
    d.text(642, 28, "Y, 4\u00d71")
    d.grid(626, 42, 31, [[signed(value)] for value in y], {(0, 0): (BLUE, 0.22), (3, 0): (RED, 0.18)})
    d.arrow((668, 104), (732, 104))
    d.text(700, 94, "the same", 12, GREY)
    d.text(700, 124, "memory", 12, GREY)
    d.text(772, 28, "output y, 2\u00d72")
    d.grid(740, 72, 31, [[signed(y[0]), signed(y[1])], [signed(y[2]), signed(y[3])]],
           {(0, 0): (BLUE, 0.22), (1, 1): (RED, 0.18)})
    d.text(372, 196, "With O kernels W\u1d40 has O columns, with C channels", 12, GREY)
    d.text(372, 212, "a patch has 9\u00b7C numbers. Nothing else changes.", 12, GREY)
    d.save()


def col2im():
    d = Drawing("col2im", 900, 225)
    dy = [1, 2, 3, 4]
    w = [value for row in KERNEL for value in row]
    d.text(55, 28, "dY, 4\u00d71")
    for k in range(4):
        d.box(40, 42 + 31 * k, 31, 31, dy[k], COLOURS[k], GREY, opacity=0.25, rx=0)
    d.text(88, 110, "\u00b7", 22)
    d.text(180, 28, "W, 1\u00d79")
    d.grid(102, 90, 18, [[signed(value) for value in w]], size=10)
    d.text(280, 110, "=", 18)
    d.text(400, 28, "dX\u0302: a row for each patch")
    rows = [[signed(a * b) for b in w] for a in dy]
    d.grid(296, 42, 31, rows, {(r, c): (COLOURS[r], 0.25) for r in range(4) for c in range(9)})
    d.arrow((584, 104), (640, 104))
    d.text(612, 94, "col2im", 12, GREY)
    total = [[0] * 4 for _ in range(4)]
    count = [[0] * 4 for _ in range(4)]
    for k, (r, c) in enumerate((r, c) for r in range(2) for c in range(2)):
        for i in range(9):
            total[r + i // 3][c + i % 3] += dy[k] * w[i]
            count[r + i // 3][c + i % 3] += 1
    d.text(718, 28, "dx, 4\u00d74: patches added back")
    d.grid(656, 42, 31, [[""] * 4] * 4)
    for k, (r, c) in enumerate((r, c) for r in range(2) for c in range(2)):
        d.box(656 + 31 * c, 42 + 31 * r, 93, 93, "", COLOURS[k], COLOURS[k], opacity=0.2, rx=0)
    for r in range(4):
        for c in range(4):
            d.text(656 + 31 * c + 15.5, 42 + 31 * r + 20, signed(total[r][c]), 12)
    d.text(450, 205, "A pixel collects a gradient from every patch that it was part of: "
           f"a corner from {count[0][0]}, an edge from {count[0][1]}, the middle from {count[1][1]}.", 12, GREY)
    d.save()


def transposed():
    d = Drawing("transposed", 820, 270)
    small = [[1, 2], [3, 4]]
    kernel = [[1, 1, 1], [1, 2, 1], [1, 1, 1]]
    d.text(70, 28, "x, 2\u00d72")
    for k in range(4):
        d.box(40 + 31 * (k % 2), 90 + 31 * (k // 2), 31, 31, small[k // 2][k % 2], COLOURS[k], GREY, opacity=0.3, rx=0)
    d.text(128, 126, "times the kernel", 12, GREY, "start")
    d.grid(238, 74, 31, kernel)
    d.text(285, 28, "W, 3\u00d73")
    d.arrow((346, 121), (412, 121))
    d.text(379, 111, "col2im", 12, GREY)
    total = [[0] * 5 for _ in range(5)]
    for k in range(4):
        for i in range(9):
            total[2 * (k // 2) + i // 3][2 * (k % 2) + i % 3] += small[k // 2][k % 2] * kernel[i // 3][i % 3]
    d.text(507, 28, "y, 5\u00d75: one stamp for each pixel, stride 2")
    d.grid(430, 42, 31, [[""] * 5] * 5)
    for k in range(4):
        d.box(430 + 62 * (k % 2), 42 + 62 * (k // 2), 93, 93, "", COLOURS[k], COLOURS[k], opacity=0.25, rx=0)
    for r in range(5):
        for c in range(5):
            d.text(430 + 31 * c + 15.5, 42 + 31 * r + 20, total[r][c], 12)
    d.text(620, 96, "The middle pixel is in all", 12, GREY, "start")
    d.text(620, 112, f"four stamps: 1+2+3+4 = {total[2][2]}.", 12, GREY, "start")
    d.text(410, 235, "Forward of a transposed convolution is the input gradient of the convolution with the same kernel, "
           "and the other way round.", 12, GREY)
    d.save()


def pooling():
    d = Drawing("pooling", 820, 210)
    x = [[3, 1, 0, 2], [1, 2, 4, 1], [5, 3, 2, 6], [5, 1, 1, 0]]
    dy = [[7, 8], [9, 5]]
    winner = {}
    for r in range(2):
        for c in range(2):
            cells = [(2 * r + i, 2 * c + j) for i in range(2) for j in range(2)]
            winner[(r, c)] = max(cells, key=lambda cell: x[cell[0]][cell[1]])  # the first of equals
    fills = {(r, c): (COLOURS[r // 2 * 2 + c // 2], 0.22) for r in range(4) for c in range(4)}
    small = {(r, c): (COLOURS[2 * r + c], 0.22) for r in range(2) for c in range(2)}
    d.text(92, 28, "x, windows of 2\u00d72")
    d.grid(30, 42, 31, x, fills)
    d.arrow((170, 104), (226, 104))
    d.text(198, 94, "largest", 12, GREY)
    d.text(276, 28, "y")
    d.grid(245, 73, 31, [[x[winner[(r, c)][0]][winner[(r, c)][1]] for c in range(2)] for r in range(2)], small)
    d.text(450, 28, "dy")
    d.grid(420, 73, 31, dy, small, colours={(r, c): RED for r in range(2) for c in range(2)})
    d.arrow((500, 104), (566, 104), colour=RED)
    d.text(532, 94, "to the winner", 12, RED)
    dx = [[0] * 4 for _ in range(4)]
    for place, (r, c) in winner.items():
        dx[r][c] = dy[place[0]][place[1]]
    d.text(642, 28, "dx")
    d.grid(580, 42, 31, dx, fills, colours={cell: RED for cell in winner.values()})
    d.text(410, 196, "Of the two fives in the lower left window, the first gets the gradient.", 12, GREY)
    d.save()


def group_norm():
    d = Drawing("group-norm", 820, 250)
    d.box(40, 90, 70, 46, "x", size=16)
    d.box(250, 20, 150, 46, "m, the group's mean")
    d.box(250, 160, 150, 46, "v, the group's variance")
    d.box(520, 90, 150, 46, "x\u0302 = (x \u2212 m)\u00b7r")
    d.arrow((110, 113), (520, 113), colour=BLUE, width=2.2)
    d.text(315, 106, "1: directly", 12, BLUE)
    d.arrow((110, 104), (250, 43), colour=GREEN, width=2.2)
    d.arrow((400, 43), (520, 104), colour=GREEN, width=2.2)
    d.text(146, 56, "2: every x moves m", 12, GREEN)
    d.arrow((110, 122), (250, 183), colour=YELLOW, width=2.2)
    d.arrow((400, 183), (520, 122), colour=YELLOW, width=2.2)
    d.text(152, 178, "3: and v", 12, "#8a6a00")
    d.arrow((670, 113), (716, 113))
    d.box(716, 90, 90, 46, "y = \u03b3\u00b7x\u0302 + \u03b2", size=12)
    d.text(410, 236, "dx = r\u00b7( g  \u2212  mean(g)  \u2212  x\u0302\u00b7mean(g\u00b7x\u0302) ),  g = \u03b3\u00b7dy,  r = 1/\u221a(v + \u03b5)", 14)
    d.save()


def silu():
    d = Drawing("silu", 560, 300)
    plot = Plot(d, (60, 30, 360, 210), (-6, 4), (-1, 4), "x", (-6, -4, -2, 0, 2, 4), (-1, 0, 1, 2, 3, 4))
    plot.curve(lambda x: max(x, 0), GREY, "5 4")
    plot.curve(lambda x: x * sigmoid(x), BLUE)
    plot.curve(lambda x: sigmoid(x) * (1 + x * (1 - sigmoid(x))), RED)
    for y, colour, text in [(80, BLUE, "x\u00b7\u03c3(x)"), (104, RED, "its derivative"), (128, GREY, "ReLU")]:
        d.path([(440, y), (466, y)], colour, 2.2, "5 4" if colour == GREY else "")
        d.text(474, y + 4, text, 12, INK, "start")
    d.save()


def residual():
    d = Drawing("residual", 700, 210)
    d.text(60, 105, "x", 16)
    d.arrow((75, 92), (210, 92))
    d.box(210, 70, 190, 60, "f: two times norm, SiLU, conv", "#e8f0fa")
    d.arrow((400, 92), (505, 92))
    d.box(505, 82, 34, 34, "+", size=18, rx=17)
    d.arrow((539, 92), (620, 92))
    d.text(640, 105, "y", 16)
    d.arrow((130, 92), (130, 34), (522, 34), (522, 82))
    d.text(300, 26, "unchanged", 12, GREY)
    d.arrow((620, 108), (539, 108), colour=RED)
    d.text(585, 130, "dy", 13, RED)
    d.arrow((505, 108), (400, 108), colour=RED)
    d.text(452, 130, "dy", 13, RED)
    d.arrow((210, 108), (75, 108), colour=RED)
    d.text(152, 130, "f's part", 12, RED)
    d.arrow((522, 116), (522, 170), (100, 170), (100, 112), colour=RED)
    d.text(300, 188, "dy: reaches x unchanged, whatever f is, and is added to f's part", 12, RED)
    d.save()


def reparameterization():
    d = Drawing("reparameterization", 820, 250)
    d.text(190, 26, "drawn from N(\u03bc, \u03c3\u00b2)", 14)
    d.box(50, 70, 60, 40, "\u03bc", size=15)
    d.box(50, 140, 60, 40, "\u03c3", size=15)
    d.box(180, 100, 96, 50, "z, random", "#fbe9e7", rx=25)
    d.arrow((110, 90), (180, 116))
    d.arrow((110, 160), (180, 134))
    d.arrow((276, 125), (340, 125))
    d.text(190, 214, "A random draw has no derivative by \u03bc and \u03c3:", 12, GREY)
    d.text(190, 230, "the gradient stops at z.", 12, RED)
    d.text(590, 26, "z = \u03bc + \u03c3\u00b7\u03b5, with \u03b5 drawn beside it", 14)
    d.box(450, 70, 60, 40, "\u03bc", size=15)
    d.box(450, 140, 60, 40, "\u03c3", size=15)
    d.box(590, 100, 100, 50, "z = \u03bc + \u03c3\u00b7\u03b5", "#eef7ef")
    d.box(597, 42, 86, 32, "\u03b5, random", "#fbe9e7", size=12, rx=16)
    d.arrow((640, 74), (640, 100), colour=GREY)
    d.arrow((510, 84), (590, 112))
    d.arrow((510, 154), (590, 132))
    d.arrow((690, 120), (760, 120))
    d.arrow((760, 132), (690, 132), colour=RED)
    d.text(726, 150, "dz", 13, RED)
    d.arrow((590, 120), (510, 98), colour=RED)
    d.text(546, 124, "dz", 12, RED)
    d.arrow((590, 142), (510, 168), colour=RED)
    d.text(572, 170, "dz\u00b7\u03b5", 12, RED)
    d.text(590, 214, "The same distribution, and z is an ordinary", 12, GREY)
    d.text(590, 230, "function of \u03bc and \u03c3.", 12, GREY)
    d.save()


def divergence():
    d = Drawing("divergence", 640, 310)
    plot = Plot(d, (60, 30, 380, 220), (-3, 3), (0, 4), "s = ln \u03c3\u00b2, at \u03bc = 0", (-3, -2, -1, 0, 1, 2, 3), (0, 1, 2, 3, 4))
    kl = lambda s: 0.5 * (math.exp(s) - 1 - s)
    plot.curve(kl, BLUE)
    plot.curve(lambda s: kl(-s), GREEN)
    plot.curve(lambda s: 0.5 * (kl(s) + kl(-s)), RED)
    for y, colour, text in [(80, BLUE, "KL(q\u2016p), the ELBO's"), (104, GREEN, "KL(p\u2016q)"), (128, RED, "jeffreys, their mean")]:
        d.path([(462, y), (488, y)], colour, 2.2)
        d.text(496, y + 4, text, 12, INK, "start")
    d.save()


def logistic():
    d = Drawing("logistic", 820, 290)
    centre, scale = 5.2, 2.2
    density = lambda k: sigmoid((k - centre) / scale) * (1 - sigmoid((k - centre) / scale)) / scale
    plot = Plot(d, (50, 30, 560, 200), (-2.5, 17.5), (0, 0.13), "byte k (here 0 to 15 instead of 0 to 255)")
    for k in range(16):
        x, y = plot.at(k - 0.5, 0)
        d.path([(x, y), (x, y + 6)], GREY, 1)
        d.text(plot.at(k, 0)[0], y + 16, k, 11, GREY)
    for first, last, colour in [(-2.5, 0.5, GREEN), (2.5, 3.5, BLUE), (14.5, 17.5, GREEN)]:
        steps = [first + (last - first) * i / 30 for i in range(31)]
        area = [plot.at(first, 0)] + [plot.at(x, density(x)) for x in steps] + [plot.at(last, 0)]
        d.path(area, colour, 1, fill=colour, opacity=0.3)
    plot.curve(density, INK)
    a, b = plot.at(2.5, density(2.5)), plot.at(3.5, density(3.5))
    d.text(a[0] - 10, a[1] + 2, "a", 14, BLUE, italic=True)
    d.text(b[0] - 8, b[1] - 6, "b", 14, BLUE, italic=True)
    x, y = plot.at(centre, 0.122)
    d.text(x, y - 4, "mean c", 12, GREY)
    d.path([(x, y), plot.at(centre, 0)], GREY, 1, "4 3")
    d.text(630, 90, "p(3) = \u03c3(b) \u2212 \u03c3(a)", 14, BLUE, "start")
    d.text(630, 122, "The first bin reaches to \u2212\u221e and", 12, "#2c6e3b", "start")
    d.text(630, 138, "the last to +\u221e, so all of them", 12, "#2c6e3b", "start")
    d.text(630, 154, "add up to 1.", 12, "#2c6e3b", "start")
    d.save()


def phases():
    d = Drawing("phases", 820, 250)
    stride, kernel, padding, small = 2, 4, 1, 5
    large = small * stride
    cell, left = 62, 110
    xs = lambda i: left + cell * i + cell / 2
    xo = lambda o: left + cell * (o * stride + 0.5) + cell / 2
    for o in range(small):
        for k in range(kernel):
            i = o * stride + k - padding
            if 0 <= i < large:
                colour = BLUE if i % 2 == 0 else RED
                d.path([(xo(o), 76), (xs(i), 170)], colour, 1.6, "" if i % 2 == 0 else "5 3")
    for o in range(small):
        d.box(xo(o) - 18, 44, 36, 32, o)
    for i in range(large):
        even = i % 2 == 0
        d.box(xs(i) - 20, 170, 40, 32, i, "#dfeaf6" if even else "#f8e0dc")
    d.text(16, 64, "small side", 13, INK, "start")
    d.text(16, 190, "large side", 13, INK, "start")
    d.text(410, 24, "stride 2, kernel 4, padding 1: every line is one multiplication by one tap", 13)
    taps = {p: [k for k in range(kernel) if (k - padding) % stride == p] for p in range(stride)}
    d.text(410, 232, f"Even pixels meet only taps {taps[0][0]} and {taps[0][1]}, odd pixels only taps {taps[1][0]} and {taps[1][1]}: "
           "each phase is a small convolution.", 12, GREY)
    d.save()


def tile():
    d = Drawing("tile", 820, 300)
    x, y, cell = 250, 70, 15
    for r in range(8):
        for v in range(2):
            d.box(x + v * 16 * cell, y + r * 22, 16 * cell - 4, 18, "16 sums", "#e8f0fa", size=11, rx=2)
    for v in range(2):
        d.box(x + v * 16 * cell, 34, 16 * cell - 4, 20, "16 numbers of a row of B", "#eef7ef", size=11, rx=2)
    for r in range(8):
        d.box(196, y + r * 22, 34, 18, f"a{r}", "#fdf6e3", size=11, rx=2)
    d.text(100, 130, "a column of A:", 12, INK)
    d.text(100, 148, "eight numbers, read", 12, INK)
    d.text(100, 166, "one after another", 12, INK)
    d.text(410, 270, "One step of the depth: 8\u00d72 fused multiply-adds, which do not wait for each other. "
           "16 registers of sums + 2 of B + 1 of A = 19 of 32.", 12, GREY)
    d.text(410, 288, "With AVX2 (8 numbers a vector, 16 registers): 6\u00d72 sums + 2 + 1 = 15 of 16.", 12, GREY)
    d.save()


def atomic():
    d = Drawing("atomic", 820, 190)
    steps = ["write\nmodel.tmp", "sync\nthe file", "rename to\nmodel", "sync\nthe folder"]
    for k, step in enumerate(steps):
        x = 40 + 195 * k
        d.box(x, 40, 140, 56, "", "#e8f0fa")
        for line, text in enumerate(step.split("\n")):
            d.text(x + 70, 64 + 18 * line, text)
        if k < 3:
            d.arrow((x + 140, 68), (x + 195, 68))
    d.path([(40, 128), (600, 128)], BLUE, 3)
    d.text(300, 150, "a crash here: the old file is in place, complete", 12, BLUE)
    d.path([(600, 128), (765, 128)], GREEN, 3)
    d.text(690, 150, "the old or the new one", 12, "#2c6e3b")
    d.text(410, 178, "At no moment does the final name belong to a part of a file.", 12, GREY)
    d.save()


if __name__ == "__main__":
    for draw in [overview, linear, im2col, col2im, transposed, pooling, group_norm, silu, residual, reparameterization,
                 divergence, logistic, phases, tile, atomic]:
        draw()
