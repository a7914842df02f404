"""Images and masks: of a table that is trained on, and given to `triune verify`."""

import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image

from malformed.case import ITEMS, SMALL, SOUND, Case, cases, mask, picture

TRAIN = f"train --output out {SMALL} --data t.csv"
TABLE = {**ITEMS, "t.csv": "\n".join(SOUND) + "\n"}
IDS = np.eye(16, dtype=np.uint8)
MASKS = {f"m{i}.png": mask(IDS) for i in range(len(ITEMS))}
WITH_MASKS = {
    **ITEMS,
    **MASKS,
    "t.csv": "\n".join([SOUND[0] + ",mask", *(f"{row},m{i}.png" for i, row in enumerate(SOUND[1:]))]) + "\n",
}


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int = 8, colour: int = 2, data: bytes = b"", more: bytes = b"") -> bytes:
    """A PNG that claims a size, with any data."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + more + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def floats() -> bytes:
    out = BytesIO()
    Image.fromarray(np.random.default_rng(0).random((16, 16)).astype(np.float32)).save(out, "TIFF")
    return out.getvalue()


JPEG, SOUND_PNG = picture(kind="JPEG"), picture()
NO_IMAGE = {
    "empty": (b"", "cannot be read"),
    "words": ("not an image\n", "cannot be read"),
    "zeros": (bytes(4096), "cannot be read"),
    "the magic of PNG alone": (SOUND_PNG[:8], "cannot be read"),
    "a PNG cut in its header": (SOUND_PNG[:20], "cannot be read"),
    "a PNG cut in its data": (SOUND_PNG[:200], "cannot be read"),
    "a PNG without data": (png(16, 16), "cannot be read"),
    "a PNG of no width": (png(0, 16), "cannot be read"),
    "a PNG of 2 billion pixels a side": (png(2**31 - 1, 2**31 - 1), "cannot be read"),
    "a PNG of 400 million pixels": (png(20_000, 20_000, 1, 0), "cannot be read"),
    "a PNG with a wrong checksum": (SOUND_PNG[:29] + b"\0\0\0\0" + SOUND_PNG[33:], "cannot be read"),
    "a PNG with a text of a gigabyte": (
        png(16, 16, 8, 0, bytes(17 * 16), chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(80_000_000)))),
        "cannot be read",
    ),
    "a PNG whose data have no name": (SOUND_PNG.replace(b"IDAT", b";;;;"), "cannot be read"),
    "a JPEG cut short": (JPEG[: len(JPEG) // 2], "cannot be read"),
    "the magic of JPEG alone": (JPEG[:4], "cannot be read"),
    "a GIF cut short": (picture(mode="P", kind="GIF")[:40], "cannot be read"),
    "a BMP cut short": (picture(kind="BMP")[:100], "cannot be read"),
    "a TIFF cut short": (picture(kind="TIFF")[:60], "cannot be read"),
    "a WebP cut short": (picture(kind="WEBP")[:60], "cannot be read"),
    "a PPM of letters": (b"P6\n16 sixteen\n255\n" + bytes(768), "cannot be read"),
    "a PPM cut short": (b"P6\n16 16\n255\n" + bytes(700), "cannot be read"),
    "floating-point pixels": (floats(), "floating-point"),
    "an SVG": ("<svg xmlns='http://www.w3.org/2000/svg'/>", "cannot be read"),
    "a PDF": (b"%PDF-1.4\n%%EOF", "cannot be read"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "cannot be read"),
}

NO_MASK = {
    "empty": (b"", "cannot be read"),
    "cut in its data": (mask(np.random.default_rng(0).integers(0, 2, (16, 16), dtype=np.uint8))[:60], "cannot be read"),
    "a colour picture": (SOUND_PNG, "colour"),
    "floating-point pixels": (floats(), "m3.png"),
    "CMYK": (picture(mode="CMYK", kind="TIFF"), "CMYK"),
    "another size": (mask(np.eye(8, dtype=np.uint8)), "8 x 8"),
    "its sides exchanged": (mask(np.eye(16, 12, dtype=np.uint8)), "12 x 16"),
    "words": ("0 1 0 1", "cannot be read"),
}

IMAGES = [
    *cases(
        "an image",
        TRAIN,
        TABLE,
        {name: (content, "row 5, column image", *says) for name, (content, *says) in NO_IMAGE.items()},
        into="3.png",
    ),
    *cases(
        "a mask",
        TRAIN,
        WITH_MASKS,
        {name: (content, "row 5, column mask", *says) for name, (content, *says) in NO_MASK.items()},
        into="m3.png",
    ),
    *cases("an image to verify", "verify RUN a.png b.png", {"b.png": SOUND_PNG}, NO_IMAGE, into="a.png"),
    Case("an image to verify: no such file", ("verify", "RUN", "a.png", "b.png"), ("a.png", "does not exist"), {}),
    Case("an image to verify: the second one", ("verify", "RUN", "a.png", "b.png"), ("b.png",), {"a.png": SOUND_PNG}),
    Case("an image to verify: a folder", ("verify", "RUN", "a.png", "a.png"), ("a.png",), {"a.png/b": ""}),
    Case(
        "a mask: ids beyond 255",
        (*TRAIN.split(),),
        ("t.csv", "mask", "300"),
        {**WITH_MASKS, "m3.png": mask(IDS.astype(np.uint16) * 300)},
    ),
    Case(
        "a mask: none for a row",
        (*TRAIN.split(),),
        ("m3.png", "does not exist"),
        {name: content for name, content in WITH_MASKS.items() if name != "m3.png"},
    ),
    Case(
        "images: an empty folder",
        (*f"train --output out {SMALL} --data photos".split(),),
        ("photos",),
        {"photos/readme.txt": "none"},
    ),
    Case(
        "images: folders without images",
        (*f"train --output out {SMALL} --data photos".split(),),
        ("photos",),
        {"photos/a/readme.txt": "", "photos/b/readme.txt": ""},
    ),
    Case(
        "images: a damaged one in a folder",
        (*f"train --output out {SMALL} --data photos".split(),),
        ("2.png",),
        {f"photos/{i // 3}/{i}.png": b"" if i == 2 else picture(i) for i in range(18)},
    ),
]
