"""What is uploaded: a file's own bytes, or a PNG that decodes to the same; cut by what a service takes."""

import io
import itertools
import re

import httpx
import numpy as np
import pytest
from PIL import Image

from triune.data.boxes import Box
from triune.data.decode import decode_image
from triune.errors import InputError
from triune.serving.pictures import Picture, pictures
from triune.web.parcels import AT_ONCE, Limits, distinct_names, limits_of, packed, parcels, upload
from triune.web.uploads import file_name
from web.faked import URL

USUAL = Limits()
NOISE = np.random.default_rng(0).integers(0, 256, (9, 7, 4), dtype=np.uint8)


def opened(content):
    return Image.open(io.BytesIO(content))


def test_a_file_goes_as_it_is(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(NOISE[:, :, :3]).save(path, quality=60, comment=b"kept")
    (picture,) = pictures(path)
    assert packed(picture, USUAL) == path.read_bytes()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "I;16", "PA"])
def test_an_image_in_memory_goes_as_a_png_that_is_decoded_to_the_same(mode):
    if mode in ("I", "I;16"):
        image = Image.fromarray((np.arange(63).reshape(9, 7) * 700).astype(np.uint16 if mode == "I;16" else np.int32))
    else:
        image = Image.fromarray(NOISE).convert("RGBA" if mode == "LA" else "RGB").convert(mode)
    assert image.mode == mode
    content = packed(Picture("image 0", image), USUAL)
    assert opened(content).format == "PNG"
    np.testing.assert_array_equal(decode_image(opened(content), 3).pixels, decode_image(image, 3).pixels)


def test_an_image_in_memory_goes_upright():
    image = Image.fromarray(NOISE[:, :, :3])
    image.getexif()[0x0112] = 6
    assert opened(packed(Picture("image 0", image), USUAL)).size == (9, 7)


@pytest.mark.parametrize("mode", ["RGBA", "L"])
def test_of_an_image_with_a_box_that_part_goes(tmp_path, mode):
    path, box = tmp_path / "a.png", Box(1, 2, 5, 8)
    Image.fromarray(NOISE).convert(mode).save(path)
    content = packed(Picture("a.png", str(path), box=box), USUAL)
    np.testing.assert_array_equal(decode_image(opened(content), 3).pixels, decode_image(path, 3, box=box).pixels)


def test_what_cannot_be_sent_says_why(tmp_path):
    large = tmp_path / "large.png"
    large.write_bytes(bytes(3000))
    with pytest.raises(ValueError, match="its file has 3,000 bytes, and the service takes 976"):
        packed(Picture("large.png", str(large)), Limits(image_bytes=2000))
    with pytest.raises(ValueError, match="bytes, and the service takes"):
        packed(Picture("image 0", Image.fromarray(np.repeat(NOISE, 9, 1))), Limits(image_bytes=1100))
    with pytest.raises(ValueError, match="floating-point"):
        packed(Picture("image 0", Image.new("F", (3, 3))), USUAL)
    with pytest.raises(ValueError, match=r"its values run from 0 to 70000: 0 to 65535 can be sent"):
        packed(Picture("image 0", Image.fromarray(np.array([[0, 70000]], np.int32))), USUAL)
    with pytest.raises(ValueError, match="column x_2"):
        packed(Picture("image 0", Image.fromarray(NOISE), box=Box(0, 0, 8, 9)), USUAL)
    with pytest.raises(InputError, match="does not exist"):
        packed(Picture("gone.png", str(tmp_path / "gone.png")), USUAL)


def folder_of(tmp_path, sizes):
    for place, size in enumerate(sizes):
        (tmp_path / f"{place:02d}.png").write_bytes(bytes([place]) * size)
    return [Picture(f"{place:02d}.png", str(tmp_path / f"{place:02d}.png")) for place in range(len(sizes))]


@pytest.mark.parametrize("limits", [Limits(images=3), Limits(bytes=4000, image_bytes=4000), Limits(images=1), USUAL])
def test_parcels_hold_every_picture_once_in_order_and_as_many_as_a_service_takes(tmp_path, limits):
    g = np.random.default_rng(1)
    images = folder_of(tmp_path, g.integers(1, 2900, 20).tolist())
    found = list(parcels(images, limits))
    assert [place for each in found for place in each.places] == list(range(20))
    assert b"".join(content[:1] for each in found for content in each.contents) == bytes(range(20))
    for each in found:
        assert len(each.places) <= limits.images
        assert sum(map(len, each.contents)) < limits.bytes
    # As full as may be: the first picture of the next one would have been too much.
    for one, other in itertools.pairwise(found):
        more = sum(map(len, one.contents)) + len(other.contents[0]) + 1024 * (len(one.places) + 1)
        assert len(one.places) == limits.images or more > limits.bytes


def test_a_picture_that_cannot_be_sent_is_an_error_or_told_in_its_place(tmp_path):
    images = folder_of(tmp_path, [10, 10, 5000, 10])
    limits = Limits(image_bytes=4000)
    with pytest.raises(InputError, match=r"^02.png cannot be read as an image: its file has 5,000 bytes"):
        list(parcels(images, limits))
    found = list(parcels(images, limits, skip=True))
    assert [each.places for each in found] == [(0, 1), (2,), (3,)]
    assert [each.unreadable is None for each in found] == [True, False, True]
    assert str(found[1].unreadable).startswith("02.png: its file has")


def test_a_parcel_without_one_keeps_the_others(tmp_path):
    (parcel,) = parcels(folder_of(tmp_path, [1, 2, 3]), USUAL)
    left = parcel.without(1)
    assert (left.places, left.names, [len(each) for each in left.contents]) == ((0, 2), ("00.png", "02.png"), [1, 3])


def test_names_are_the_last_parts_of_paths_each_once():
    names = ["/home/me/a.png", "b/a.png", "a-2.png", "c/a.png", "image 4", "d\n.png", "x\udcff.png"]
    assert distinct_names([Picture(name, name) for name in names]) == (
        "a.png",
        "a-2.png",
        "a-2-2.png",
        "a-3.png",
        "image 4",
        "d.png",
        "x?.png",
    )


ODD = ["a\nb.png", 'a"b.png', "a\\b.png", " .png", "\x1b[31m.png", "a\r\nX: 1.png", "\u202ea.png", "x" * 300 + ".png"]
ODD += ["o\u0308.png", "..", "%22.png", "a;b='c'.png", "\u0628\u200c.png", "😀.png", "\udcff.png", '"', "\t"]


@pytest.mark.parametrize("name", ODD)
def test_a_name_arrives_at_the_service_as_it_was_sent(name):
    """Through httpx's form and the service's own rule: else what is said of a name there is about none here."""
    names = distinct_names([Picture(name, b""), Picture(f"elsewhere/{name}", b"")])
    sent = httpx.Request("POST", URL, files=[upload("images", each, b"") for each in names])
    sent.read()
    raw = re.findall(rb'filename="(.*?)"\r\n', sent.content, re.DOTALL)
    assert len(set(names)) == 2
    for place, each in enumerate(names):
        assert raw[place].decode() == file_name(each, place) == each


@pytest.mark.parametrize(
    ("name", "kind"), [("a.png", "image/png"), ("a.JPG", "image/jpeg"), ("image 0", "application/octet-stream")]
)
def test_a_file_of_a_form_has_the_type_that_its_name_says(name, kind):
    assert upload("images", name, b"x") == ("images", (name, b"x", kind))


def test_a_file_that_is_named_like_a_page_is_not_called_one():
    assert upload("images", "a.html", b"x")[1][2] == "application/octet-stream"


def test_limits_are_the_service_s_own():
    assert limits_of({"limits": {"images": 8, "bytes": 100, "image_bytes": 50}}) == Limits(8, 100, 50)
    assert limits_of({"limits": {"images": 1000, "bytes": 100}}) == Limits(AT_ONCE, 100, 100)
    assert limits_of({}) == limits_of({"limits": None}) == USUAL
