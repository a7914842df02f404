"""Files to bytes: every colour mode, depth and orientation comes out as what a person sees."""

import time
import unicodedata

import numpy as np
import pytest
from PIL import Image

from triune.data.boxes import Box
from triune.data.decode import (
    existing,
    image_formats,
    image_suffixes,
    probe_image,
    read_image,
    read_mask,
    upright_image,
    upright_size,
)
from triune.errors import InputError


def ramp(height=6, width=4):
    return np.arange(height * width, dtype=np.uint8).reshape(height, width) * 10


def test_grey_and_colour_come_out_with_the_channels_asked_for(tmp_path):
    Image.fromarray(ramp()).save(tmp_path / "grey.png")
    assert (read_image(tmp_path / "grey.png", 1)[:, :, 0] == ramp()).all()
    assert (read_image(tmp_path / "grey.png", 3) == ramp()[:, :, None]).all()
    colour = np.stack([ramp(), ramp() // 2, ramp() // 3], axis=-1)
    Image.fromarray(colour).save(tmp_path / "colour.png")
    assert (read_image(tmp_path / "colour.png", 3) == colour).all()
    luma = colour @ [0.299, 0.587, 0.114]  # ITU-R 601
    assert np.abs(read_image(tmp_path / "colour.png", 1)[:, :, 0] - luma).max() <= 1


def test_sixteen_bits_keep_their_upper_eight(tmp_path):
    values = np.array([[0, 255, 256], [32768, 65280, 65535]], dtype=np.uint16)
    for name in ("deep.png", "deep.tif"):
        Image.fromarray(values).save(tmp_path / name)
        assert read_image(tmp_path / name, 1)[:, :, 0].tolist() == [[0, 0, 1], [128, 255, 255]]


def test_one_bit_images_are_black_and_white(tmp_path):
    Image.fromarray(ramp() > 100).save(tmp_path / "bits.png")
    assert (read_image(tmp_path / "bits.png", 1)[:, :, 0] == 255 * (ramp() > 100)).all()


def test_palettes_are_resolved_to_their_colours(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    image.save(tmp_path / "palette.png")
    assert read_image(tmp_path / "palette.png", 3).tolist() == [[[255, 0, 0], [0, 0, 255]]]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_are_laid_on_white(tmp_path, mode):
    pixels = np.zeros((1, 2, len(mode)), dtype=np.uint8)
    pixels[0, 1, -1] = 255
    Image.fromarray(pixels, mode).save(tmp_path / "clear.png")
    assert read_image(tmp_path / "clear.png", 3).tolist() == [[[255] * 3, [0] * 3]]


@pytest.mark.parametrize("turn", range(1, 9))
def test_photographs_stand_upright_whatever_the_camera_noted(tmp_path, turn):
    upright = np.zeros((8, 16), dtype=np.uint8)
    upright[:, 8:] = 80
    upright[4:] += 120
    back = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(np.ascontiguousarray(back[turn])).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    seen = read_image(tmp_path / "turned.jpg", 1)[:, :, 0].astype(int)
    assert seen.shape == (8, 16)
    assert np.abs(seen - upright).max() < 12
    assert probe_image(tmp_path / "turned.jpg").size == (8, 16)


def test_resizing_a_large_jpeg_gives_what_decoding_it_in_full_gives(tmp_path):
    smooth = np.asarray(Image.fromarray(ramp(8, 3)).resize((640, 480), Image.Resampling.BICUBIC))
    Image.fromarray(smooth).save(tmp_path / "large.jpg", quality=95)
    fast = read_image(tmp_path / "large.jpg", 1, (32, 48))[:, :, 0].astype(int)
    full = np.asarray(Image.fromarray(smooth).resize((48, 32), Image.Resampling.BICUBIC)).astype(int)
    assert fast.shape == (32, 48)
    assert np.abs(fast - full).max() <= 4


def test_masks_are_ids_in_every_way_people_store_them(tmp_path):
    ids = np.array([[0, 1, 2], [3, 254, 255]], dtype=np.uint8)
    palette = Image.fromarray(ids)
    coloured = Image.frombytes("P", palette.size, palette.tobytes())
    coloured.putpalette(list(range(256)) * 3)
    files = {
        "grey.png": palette,
        "palette.png": coloured,
        "deep.png": Image.fromarray(ids.astype(np.uint16)),
        "colour.png": Image.fromarray(np.repeat(ids[:, :, None], 3, axis=2)),
    }
    for name, image in files.items():
        image.save(tmp_path / name)
        assert (read_mask(tmp_path / name) == ids).all(), name
    Image.fromarray(ids > 1).save(tmp_path / "bits.png")
    assert (read_mask(tmp_path / "bits.png") == (ids > 1)).all()


def test_resized_masks_hold_no_id_that_was_not_there(tmp_path):
    ids = np.random.default_rng(0).choice([0, 7, 255], (40, 50)).astype(np.uint8)
    Image.fromarray(ids).save(tmp_path / "mask.png")
    small = read_mask(tmp_path / "mask.png", (20, 10))
    assert small.shape == (20, 10)
    assert set(np.unique(small)) == {0, 7, 255}


def test_what_is_no_mask_is_refused_with_the_reason(tmp_path):
    Image.fromarray(np.full((2, 2), 300, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match="go up to 300"):
        read_mask(tmp_path / "deep.png")
    Image.new("RGB", (2, 2), "red").save(tmp_path / "red.png")
    with pytest.raises(ValueError, match="colour picture"):
        read_mask(tmp_path / "red.png")
    Image.fromarray(np.zeros((2, 2), dtype=np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(ValueError, match="'F'"):
        read_mask(tmp_path / "float.tif")
    for read in (probe_image, lambda path: read_image(path, 1)):
        with pytest.raises(ValueError, match="floating-point"):
            read(tmp_path / "float.tif")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("8 of 16.png", np.arange(256, dtype=np.uint16)),
        ("12 of 16.png", np.arange(256, dtype=np.uint16) * 16),
        ("8 of 32.tif", np.arange(256, dtype=np.int32)),
        ("24 of 32.tif", np.arange(256, dtype=np.int32) * 65536),
    ],
)
def test_the_upper_8_bits_of_those_in_use_are_kept(tmp_path, name, values):
    Image.fromarray(np.tile(values, (4, 1))).save(tmp_path / name)
    assert (read_image(tmp_path / name, 1)[0, :, 0] == np.arange(256)).all()
    assert (read_image(tmp_path / name, 3)[0] == np.arange(256)[:, None]).all()


def test_a_depth_that_is_given_holds_for_every_image(tmp_path):
    Image.fromarray(np.array([[0, 160, 1600, 4095, 65535]], dtype=np.uint16)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", 1, bits=12)[0, :, 0].tolist() == [0, 10, 100, 255, 255]
    assert read_image(tmp_path / "a.png", 1, bits=16)[0, :, 0].tolist() == [0, 0, 6, 15, 255]


def test_every_still_picture_that_pillow_reads_has_its_suffix_known():
    assert {
        ".jpg",
        ".jfif",
        ".jpe",
        ".avif",
        ".png",
        ".apng",
        ".tif",
        ".webp",
        ".jp2",
        ".ppm",
        ".tga",
    } <= image_suffixes()
    assert not {".eps", ".ps", ".pdf", ".mpg", ".h5", ".wmf", ".txt"} & image_suffixes()
    assert "EPS" not in image_formats()  # whose reader starts another program


def test_a_format_is_told_by_its_content_and_programs_are_no_pictures(tmp_path):
    Image.new("RGB", (4, 4), "red").save(tmp_path / "a.jpg", format="PNG")
    assert read_image(tmp_path / "a.jpg", 3)[0, 0].tolist() == [255, 0, 0]
    Image.new("RGB", (4, 4), "red").save(tmp_path / "b.png", format="EPS")
    with pytest.raises(OSError, match="cannot identify"):
        read_image(tmp_path / "b.png", 3)


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path):
    for side, told in ((11_600, "11600 x 11600 pixels"), (20_000, "far more pixels")):
        Image.new("1", (side, side)).save(tmp_path / "large.png")
        for read in (probe_image, read_mask, upright_size, lambda path: read_image(path, 1)):
            began = time.monotonic()
            with pytest.raises(ValueError, match=f"it has {told}, and 134 million are the most"):
                read(tmp_path / "large.png")
            assert time.monotonic() - began < 2


@pytest.mark.filterwarnings("error")
def test_a_large_picture_below_the_limit_is_read_without_a_warning(tmp_path):
    Image.new("1", (10_000, 9_000)).save(tmp_path / "large.png")
    assert upright_size(tmp_path / "large.png") == (9_000, 10_000)


@pytest.mark.parametrize(("written", "there"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_path_is_found_in_the_other_form_of_unicode(tmp_path, written, there):
    def path(form):
        return tmp_path / unicodedata.normalize(form, "Zo\u00eb") / unicodedata.normalize(form, "\u00e9t\u00e9.png")

    path(there).parent.mkdir()
    Image.new("L", (3, 2), 7).save(path(there))
    assert existing(path(written)) == str(path(there))
    assert read_image(path(written), 1).shape == (2, 3, 1)
    assert existing(tmp_path / "n\u00f6.png") == str(tmp_path / "n\u00f6.png")
    with pytest.raises(InputError, match="does not exist"):
        read_image(tmp_path / "n\u00f6.png", 1)


def test_the_upright_size_is_that_of_the_upright_picture(tmp_path):
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = turn
        Image.new("RGB", (6, 4)).save(tmp_path / "turned.jpg", exif=exif)
        assert upright_size(tmp_path / "turned.jpg") == read_image(tmp_path / "turned.jpg", 1).shape[:2]
        assert upright_size(tmp_path / "turned.jpg") == probe_image(tmp_path / "turned.jpg").size


@pytest.mark.parametrize("turn", [1, 6])
def test_an_upright_image_has_the_values_of_its_file(tmp_path, turn):
    values = np.arange(24, dtype=np.uint16).reshape(4, 6) * 1000
    image = Image.fromarray(values)
    exif = image.getexif()
    exif[0x0112] = turn
    image.save(tmp_path / "deep.png", exif=exif)
    upright = values if turn == 1 else np.rot90(values, -1)
    (tmp_path / "grey.png").write_bytes((tmp_path / "deep.png").read_bytes())
    found = upright_image(tmp_path / "deep.png")
    (tmp_path / "deep.png").unlink()  # it needs its file no more
    np.testing.assert_array_equal(np.asarray(found), upright)
    part = upright_image(tmp_path / "grey.png", Box(1, 0, 3, 2))
    np.testing.assert_array_equal(np.asarray(part), upright[0:2, 1:3])
    with pytest.raises(ValueError, match="column x_2: the box reaches to 9"):
        upright_image(tmp_path / "grey.png", Box(1, 0, 9, 2))
    with pytest.raises(ValueError, match="floating-point"):
        upright_image(Image.new("F", (3, 3)))
