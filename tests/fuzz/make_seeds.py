"""Writes the seed corpus: small files of every kind that the parsers read, made by nothing but Python's standard library,
so that they are also a second opinion on the formats (src/data/tests uses them as fixtures).

    python3 tests/fuzz/make_seeds.py
"""

import gzip
import io
import os
import struct
import zipfile
import zlib

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "seeds")


def write(name, data):
    path = os.path.join(HERE, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


# Arrays: element i, counted in C order, is i % 251 (bytes), or that over 250 (floats).


def idx(kind, shape, values):
    return struct.pack(">BBBB", 0, 0, kind, len(shape)) + struct.pack(f">{len(shape)}I", *shape) + values


def npy(descr, shape, values, fortran=False, version=1):
    text = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {tuple(shape)!r}, }}"
    size = 2 if version == 1 else 4
    text += " " * (-(8 + size + len(text) + 1) % 64) + "\n"
    return b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(size, "little") + text.encode() + values


def numbers(count):
    return [i % 251 for i in range(count)]


def floats(count, code):
    return struct.pack(f"{code[0]}{count}{code[1]}", *[n / 250 for n in numbers(count)])


def fortran_bytes(shape):
    """The same array, first axis fastest."""
    count = 1
    for n in shape:
        count *= n
    out = []
    for at in range(count):
        index, rest = [], at
        for n in shape:
            index.append(rest % n)
            rest //= n
        c_order = 0
        for n, i in zip(shape, index):
            c_order = c_order * n + i
        out.append(c_order % 251)
    return bytes(out)


IMAGES = bytes(numbers(5 * 8 * 9))
LABELS = bytes([3, 1, 0, 2, 1])

write("idx/images.idx", idx(0x08, (5, 8, 9), IMAGES))
write("idx/images.idx.gz", gzip.compress(idx(0x08, (5, 8, 9), IMAGES), mtime=0))
write("idx/rgb.idx", idx(0x08, (2, 8, 9, 3), bytes(numbers(432))))
write("idx/floats.idx", idx(0x0D, (2, 8, 8), floats(128, ">f")))
write("idx/labels.idx", idx(0x08, (5,), LABELS))

write("npy/nhw.npy", npy("|u1", (5, 8, 9), IMAGES))
write("npy/nhwc.npy", npy("|u1", (2, 8, 9, 3), bytes(numbers(432))))
write("npy/nchw.npy", npy("|u1", (2, 3, 8, 9), bytes(numbers(432))))
write("npy/fortran.npy", npy("|u1", (2, 8, 9, 3), fortran_bytes((2, 8, 9, 3)), fortran=True))
write("npy/fortran_nchw.npy", npy("|u1", (2, 3, 8, 9), fortran_bytes((2, 3, 8, 9)), fortran=True))
write("npy/f32.npy", npy("<f4", (2, 8, 8), floats(128, "<f")))
write("npy/f64_v2.npy", npy("<f8", (1, 8, 8, 1), floats(64, "<d"), version=2))
write("npy/big_endian_v3.npy", npy(">f4", (2, 8, 8), floats(128, ">f"), version=3))
write("npy/bool.npy", npy("|b1", (2, 8, 8), bytes(i % 2 for i in range(128))))
write("npy/nhw.npy.gz", gzip.compress(npy("|u1", (5, 8, 9), IMAGES), mtime=0))
write("matrix/f32.npy", npy("<f4", (6, 4), floats(24, "<f")))
write("matrix/f64.npy", npy("<f8", (3, 5), floats(15, "<d")))


class Pipe(io.RawIOBase):
    """A stream without seek: zipfile then writes data descriptors."""

    def __init__(self):
        self.data = bytearray()

    def writable(self):
        return True

    def write(self, data):
        self.data += data
        return len(data)


def npz(members, method, stream=False):
    out = Pipe() if stream else io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            info.compress_type = method
            # NumPy asks for 64-bit sizes always.
            with archive.open(info, "w", force_zip64=True) as member:
                member.write(data)
    return bytes(out.data) if stream else out.getvalue()


KERAS = {
    "x_train.npy": npy("|u1", (5, 8, 9), IMAGES),
    "y_train.npy": npy("|u1", (5,), LABELS),
    "x_test.npy": npy("|u1", (2, 8, 9), bytes(numbers(144))),
    "y_test.npy": npy("<i8", (2,), struct.pack("<2q", 3, 0)),
}
write("npz/keras_stored.npz", npz(KERAS, zipfile.ZIP_STORED))
write("npz/keras_deflated.npz", npz(KERAS, zipfile.ZIP_DEFLATED))
write("npz/keras_streamed.npz", npz(KERAS, zipfile.ZIP_DEFLATED, stream=True))
zipfile.ZIP64_LIMIT = 40  # an archive whose directory has 64-bit sizes, as those above 4 GiB have
ZIP64 = npz(KERAS, zipfile.ZIP_DEFLATED)
write("npz/keras_zip64.npz", ZIP64[:-14] + b"\xff" * 12 + ZIP64[-2:])  # and says so in its last record
zipfile.ZIP64_LIMIT = (1 << 31) - 1
ONE = {"pictures.npy": npy("<f4", (2, 8, 8), floats(128, "<f")), "kinds.npy": npy(">i4", (2, 1), struct.pack(">2i", 9, 4))}
write("npz/one_array.npz", npz(ONE, zipfile.ZIP_DEFLATED))

# Pictures: 8 rows of 9 pixels; sample c of pixel (x, y) is (x·29 + y·17 + c·71) mod 2^bits, but 16 bits have the 8-bit
# value as their upper byte, and the lower byte 255 less that.

HEIGHT, WIDTH = 8, 9
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def sample(x, y, c, bits):
    value = (x * 29 + y * 17 + c * 71) % (1 << min(bits, 8))
    return value << 8 | (255 - value) if bits == 16 else value


def pack(values, bits):
    if bits == 16:
        return b"".join(value.to_bytes(2, "big") for value in values)
    whole = "".join(f"{value:0{bits}b}" for value in values)
    whole += "0" * (-len(whole) % 8)
    return bytes(int(whole[i : i + 8], 2) for i in range(0, len(whole), 8))


def rows(color, bits, xs, ys):
    previous = None
    for n, y in enumerate(ys):
        row = pack([sample(x, y, c, bits) for x in xs for c in range(SAMPLES[color])], bits)
        if n % 2 and previous is not None:  # filter "up" on every other row
            yield b"\x02" + bytes((a - b) & 255 for a, b in zip(row, previous))
        else:
            yield b"\x00" + row
        previous = row


def png(color, bits, interlaced=False, extra=()):
    if interlaced:
        passes = [(range(x, WIDTH, dx), range(y, HEIGHT, dy)) for x, y, dx, dy in ADAM7]
    else:
        passes = [(range(WIDTH), range(HEIGHT))]
    raw = b"".join(row for xs, ys in passes if len(xs) for row in rows(color, bits, xs, ys))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, color, 0, 0, interlaced))
    middle = b"".join(chunk(kind, data) for kind, data in extra)
    return b"\x89PNG\r\n\x1a\n" + header + middle + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def palette(bits):
    """Entry i is (i, 255 - i, i · 7 mod 256)."""
    return b"PLTE", b"".join(bytes([i, 255 - i, i * 7 % 256]) for i in range(1 << bits))


for bits in (1, 2, 4, 8, 16):
    write(f"png/grey{bits}.png", png(0, bits))
for bits in (1, 2, 4, 8):
    write(f"png/palette{bits}.png", png(3, bits, extra=[palette(bits)]))
for bits in (8, 16):
    write(f"png/rgb{bits}.png", png(2, bits))
    write(f"png/grey_alpha{bits}.png", png(4, bits))
    write(f"png/rgba{bits}.png", png(6, bits))
for color, bits, name in ((0, 8, "grey8"), (2, 8, "rgb8"), (0, 1, "grey1"), (6, 16, "rgba16")):
    write(f"png/{name}_interlaced.png", png(color, bits, interlaced=True))
write("png/palette4_interlaced.png", png(3, 4, interlaced=True, extra=[palette(4)]))
# Transparent: the first two palette entries (opacity 0 and 128); the grey 29; the red-green-blue of pixel (1, 0).
write("png/palette8_transparent.png", png(3, 8, extra=[palette(8), (b"tRNS", bytes([0, 128]))]))
write("png/grey8_transparent.png", png(0, 8, extra=[(b"tRNS", struct.pack(">H", 29))]))
write("png/rgb8_transparent.png", png(2, 8, extra=[(b"tRNS", struct.pack(">3H", 29, 100, 171))]))
write("png/grey8_text.png", png(0, 8, extra=[(b"tEXt", b"Comment\0nothing"), (b"gAMA", struct.pack(">I", 45455))]))
# Not what it should be: a palette of one colour and a third (png 0.18.1 panics).
write("png/palette_cut.png", png(3, 8, extra=[(b"PLTE", bytes(4))]))
# A header whose nesting is hidden by closing brackets in a string: npyz took seconds.
hidden = "{'" + ")" * 40 + "': '<f8', 'fortran_order': False, " + "{" * 11 + "'shape': (3, 5), }"
write("npy/hidden_nesting.npy", b"\x93NUMPY\1\0" + struct.pack("<H", len(hidden)) + hidden.encode())


def archive(members, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, data in members:
            file.writestr(zipfile.ZipInfo(name), data, method)
    return out.getvalue()


def seed(name):
    with open(os.path.join(HERE, name), "rb") as file:
        return file.read()


# Archives of pictures: class folders, parts, and what macOS adds.
grey, rgb = seed("png/grey8.png"), seed("png/rgb8.png")
write("zip/classes.zip", archive([("pics/cat/1.png", grey), ("pics/dog/1.png", rgb), ("__MACOSX/pics/cat/._1.png", b"\0\5\x16\7")]))
write("zip/parts.zip", archive([(f"{part}/{i}.png", grey) for part in ("train", "val", "test") for i in range(2)]))
write("zip/stored.zip", archive([("a.png", rgb), ("b.png", rgb)], zipfile.ZIP_STORED))
zipfile.ZIP64_LIMIT = 10
write("zip/zip64.zip", archive([("a.png", grey)]))
# EXIF of both byte orders before the pixels of a PNG file.
for order, mark, name in ((">", b"MM\0*", "big"), ("<", b"II*\0", "little")):
    exif = mark + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    write(f"exif/{name}.png", png(0, 8, extra=[(b"eXIf", exif)]))
# JPEG and WebP files are those of tests/fixtures/make_pictures.py, which needs Pillow.
for folder, ending in (("jpeg", ".jpg"), ("webp", ".webp")):
    pictures = os.path.join(HERE, "../../fixtures/pictures")
    for name in sorted(os.listdir(pictures)):
        if name.endswith(ending):
            with open(os.path.join(pictures, name), "rb") as file:
                write(f"{'exif' if 'orientation' in name or 'turned' in name else folder}/{name}", file.read())
