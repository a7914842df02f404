"""Likeness of pictures: a picture stored again is told from another one."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from triune.data.boxes import Box
from triune.data.likeness import WIDTH, copy_limit, differences, signature, signatures


def pictures(count, side=64, seed=0):
    """Smooth pictures of no two alike."""
    g = np.random.default_rng(seed)
    small = g.integers(0, 256, (count, 6, 6, 3)).astype(np.uint8)
    return [Image.fromarray(each).resize((side, side), Image.Resampling.BICUBIC) for each in small]


def stored(picture, kind):
    buffer = io.BytesIO()
    if kind == "jpeg":
        picture.save(buffer, "JPEG", quality=50)
    elif kind == "small":
        picture.resize((48, 40)).save(buffer, "PNG")
    else:
        ImageEnhance.Brightness(picture).enhance(0.93).save(buffer, "WEBP", quality=70)
    return Image.open(buffer)


@pytest.mark.parametrize("kind", ["jpeg", "small", "webp"])
def test_copies_are_within_the_limit_and_other_pictures_are_not(kind):
    own = pictures(30)
    limit = copy_limit(own)
    rows = signatures(own)
    copies = signatures([stored(picture, kind) for picture in own])
    assert (differences(rows, copies) <= limit).mean() >= 0.9
    assert (differences(rows, np.roll(copies, 1, axis=0)) > 100 * limit).all()


def test_a_signature_is_of_length_one_and_does_not_depend_on_brightness():
    picture = pictures(1)[0]
    row = signature(picture)
    assert row.shape == (WIDTH,)
    assert np.linalg.norm(row) == pytest.approx(1, abs=1e-5)
    darker = Image.fromarray((np.asarray(picture) // 2).astype(np.uint8))
    assert differences(row[None], signature(darker)[None])[0] < 1e-3
    assert not signature(Image.new("RGB", (9, 9), "white")).any()


def test_what_cannot_be_read_differs_from_everything(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    picture = pictures(1)[0]
    rows = signatures([tmp_path / "bad.png", picture, tmp_path / "gone.png"])
    assert np.isnan(rows[[0, 2]]).all()
    assert not (differences(rows[:2], rows[1:]) <= 1).any()
    assert copy_limit([tmp_path / "bad.png"]) == 0
    assert copy_limit([tmp_path / "bad.png", picture]) > 0
    assert signatures([]).shape == (0, WIDTH)
    with pytest.raises((OSError, ValueError)):
        signature(tmp_path / "bad.png")


def test_a_file_is_seen_upright(tmp_path):
    picture = pictures(1, side=96)[0]
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    picture.rotate(90, expand=True).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    assert differences(signature(tmp_path / "turned.jpg")[None], signature(picture)[None])[0] < 0.01


def test_two_boxes_of_one_picture_are_as_unlike_as_two_pictures(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (16, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((128, 64), Image.Resampling.NEAREST).save(tmp_path / "a.png")
    path, left, right = str(tmp_path / "a.png"), Box(0, 0, 64, 64), Box(64, 0, 128, 64)
    rows = signatures([path, path, path], [left, right, left])
    alike = differences(rows[[0, 0]], rows[[1, 2]])
    assert alike[0] > 0.5
    assert abs(alike[1]) < 1e-6
    cut = Image.open(path).crop(left)
    np.testing.assert_allclose(signature(cut), rows[0], atol=1e-6)
    assert 0 <= copy_limit([path], [left]) == copy_limit([cut])
