"""Uploaded images: looked at before they are decoded, decoded as the run decodes the file."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from triune.serving.networks import Read
from triune.web.decoding import FORMATS, picture_of, read_upload
from triune.web.limits import Limits
from triune.web.refusals import Refused
from triune.web.uploads import Upload


def saved(kind, size=(40, 30), **how):
    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **how)
    return buffer.getvalue()


def bomb(width, height):
    """A PNG of a few bytes that says that it has so many pixels."""

    def chunk(name, content):
        checked = name + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(10_000, 10_000), (100_000, 100_000), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_refused_by_its_header(size):
    with pytest.raises(Refused, match="50,000,000 are the most") as refused:
        picture_of(Upload("a.png", bomb(*size)), 2, Limits())
    assert (refused.value.status, refused.value.image) == (413, 2)


def test_an_image_of_as_many_pixels_as_there_may_be_is_taken():
    limits = Limits(pixels=1200)
    assert picture_of(Upload("a.png", saved("PNG")), 0, limits).name == "a.png"
    with pytest.raises(Refused, match="40 x 31 pixels"):
        picture_of(Upload("a.png", saved("PNG", (40, 31))), 0, limits)


@pytest.mark.parametrize(
    "content",
    [b"hello", b"%PDF-1.4", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\x00" * 100, saved("ICO"), saved("PCX"), saved("TGA")],
)
def test_what_is_no_picture_of_a_common_format_reaches_no_decoder(content):
    with pytest.raises(Refused, match="no image of a format") as refused:
        picture_of(Upload("a", content), 0, Limits())
    assert refused.value.status == 422


def test_nothing_is_no_image():
    with pytest.raises(Refused, match="is empty"):
        picture_of(Upload("a", b""), 0, Limits())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"])
def test_a_picture_cut_short_is_422_and_named(loaded, kind):
    content = saved(kind, (200, 150))
    with pytest.raises(Refused) as refused:
        read_upload(loaded, Upload("cut.img", content[: len(content) // 3]), 1, Limits())
    assert (refused.value.status, refused.value.image) == (422, 1)
    assert "cut.img" in refused.value.reason


@pytest.mark.parametrize("kind", [each for each in FORMATS if each not in ("MPO", "JPEG2000")])
def test_an_upload_is_read_to_the_pixel_as_its_file_is(loaded, tmp_path, kind):
    content = saved(kind, (640, 480))  # large enough that a JPEG is decoded at a reduced scale
    (tmp_path / "x").write_bytes(content)
    _, read = read_upload(loaded, Upload("x", content), 0, Limits())
    there = loaded.network.read(str(tmp_path / "x"))
    assert isinstance(read, Read)
    assert read.size == there.size == (480, 640)
    np.testing.assert_array_equal(read.pixels, there.pixels)
