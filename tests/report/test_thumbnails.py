"""Images made small, and masks laid over them."""

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from triune.data.boxes import Box
from triune.data.reading import Reading
from triune.report.thumbnails import mask_overlap, overlay, sheet, thumbnail


def test_mask_overlap_leaves_ignored_pixels_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    true, found = rng.integers(0, 3, (9, 7)), rng.integers(0, 2, (9, 7))
    true[0] = 255
    for name, ids in (("true", true), ("found", found)):
        Image.fromarray(ids.astype(np.uint8)).save(tmp_path / f"{name}.png")
    a, b = true[1:] > 0, found[1:] > 0
    assert mask_overlap(tmp_path / "true.png", tmp_path / "found.png") == (a & b).sum() / (a | b).sum()
    assert mask_overlap(tmp_path / "true.png", tmp_path / "none.png") is None


def test_thumbnails_keep_the_shape_and_forgive_lost_files(tmp_path: Path) -> None:
    Image.new("RGB", (300, 100), "red").save(tmp_path / "wide.png")
    Image.new("L", (300, 100), 1).save(tmp_path / "mask.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    assert decoded(thumbnail(tmp_path / "wide.png", 60)).size == (60, 20)
    assert decoded(overlay(tmp_path / "wide.png", tmp_path / "mask.png", 60)).size == (60, 20)
    assert thumbnail(tmp_path / "broken.png") is None
    assert thumbnail(tmp_path / "gone.png") is None
    found = sheet([str(tmp_path / name) for name in ("wide.png", "broken.png", "wide.png")], side=30)
    assert found is not None
    assert decoded(found.source).size == (60, 60)
    assert sheet([str(tmp_path / "gone.png")]) is None


def decoded(source: str | None) -> Image.Image:
    assert source is not None
    return Image.open(io.BytesIO(base64.b64decode(source.split(",", 1)[1])))


def test_masks_are_compared_by_what_their_values_stand_for(tmp_path):
    shape = np.zeros((8, 8), np.uint8)
    shape[2:6, 2:6] = 1
    Image.fromarray(shape + 1).save(tmp_path / "true.png")  # 1 is background, 2 foreground
    Image.fromarray(shape).save(tmp_path / "predicted.png")
    reading = Reading(mask_values=(1, 2))
    assert mask_overlap(tmp_path / "true.png", tmp_path / "predicted.png", reading) == 1
    assert mask_overlap(tmp_path / "true.png", tmp_path / "predicted.png") == 16 / 64
    Image.new("RGB", (8, 8)).save(tmp_path / "image.png")
    painted = overlay(tmp_path / "image.png", tmp_path / "true.png", reading=reading)
    assert painted == overlay(tmp_path / "image.png", tmp_path / "predicted.png")


def decoded_pixels(source):
    return np.asarray(decoded(source)).astype(int)


def test_of_an_item_with_a_box_the_part_within_it_is_shown(tmp_path):
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[10:30, 20:50] = (250, 20, 20)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray((pixels[:, :, 0] > 0).astype(np.uint8)).save(tmp_path / "m.png")
    box = Box(20, 10, 50, 30)
    small = decoded_pixels(thumbnail(tmp_path / "a.png", 60, box))
    assert small.shape[:2] == (40, 60)
    assert small[..., 0].min() > 200
    assert decoded_pixels(sheet([str(tmp_path / "a.png")], 60, [box]).source)[30, 30, 0] > 200
    laid = decoded_pixels(overlay(tmp_path / "a.png", tmp_path / "m.png", 60, box=box))
    assert laid.shape[:2] == (40, 60)
    whole = decoded_pixels(overlay(tmp_path / "a.png", tmp_path / "m.png", 60))
    assert whole[2, 2].max() < 60
    assert laid[2, 2].max() > 100


def test_what_a_network_did_not_see_is_not_counted_in_an_overlap(tmp_path):
    Image.fromarray(np.array([[1, 1, 1, 0]], np.uint8)).save(tmp_path / "true.png")
    Image.fromarray(np.array([[1, 0, 255, 255]], np.uint8)).save(tmp_path / "said.png")
    assert mask_overlap(tmp_path / "true.png", tmp_path / "said.png") == 0.5
