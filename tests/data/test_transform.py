"""Random changes and normalisation: image and mask stay in register, and each setting changes what it says."""

import dataclasses

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from torch.nn.functional import max_pool2d

from conftest import shared_data
from data.discs import dataset
from triune.data.augment import NO_AUGMENT, AugmentConfig
from triune.data.dataset import ItemDataset, collate
from triune.data.items import read_table
from triune.data.preprocessing import MEAN, STD, Preprocessing
from triune.data.transform import eval_transform, train_transform
from triune.errors import InputError

GEOMETRY = {
    "crop": AugmentConfig(**{**dataclasses.asdict(NO_AUGMENT), "crop": 0.4}),
    "aspect": AugmentConfig(**{**dataclasses.asdict(NO_AUGMENT), "aspect": 1.5}),
    "flip": AugmentConfig(**{**dataclasses.asdict(NO_AUGMENT), "flip": 1.0}),
    "degrees": AugmentConfig(**{**dataclasses.asdict(NO_AUGMENT), "degrees": 40.0}),
    "shift": AugmentConfig(**{**dataclasses.asdict(NO_AUGMENT), "shift": 0.3}),
    "zoom": AugmentConfig(**{**dataclasses.asdict(NO_AUGMENT), "zoom": 0.4}),
    "all": AugmentConfig(crop=0.5, aspect=1.3, degrees=30, shift=0.2, zoom=0.2, brightness=0, contrast=0),
}


def test_images_are_normalised_by_the_mean_and_deviation_of_their_channels(frame):
    for channels in (1, 3):
        data = dataset(frame, (40, 48), channels)
        plain = torch.tensor(np.array(Image.open(frame["image"][0]))).double() / 255
        for c in range(channels):
            expected = (plain - MEAN[channels][c]) / STD[channels][c]
            torch.testing.assert_close(collate([data[0]]).images[0, c].double(), expected, atol=1e-5, rtol=0)
    own = collate([data[0]], mean=[0.5] * 3, std=[0.5] * 3).images
    torch.testing.assert_close(own[0, 0].double(), plain * 2 - 1, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", list(GEOMETRY))
def test_image_and_mask_move_together(frame, name):
    data = dataset(frame, 48, augment=GEOMETRY[name])
    plain = dataset(frame, 48)
    moved = 0
    drifts = []
    for item, index in zip(data.__getitems__([0, 1, 2, 3] * 6), [0, 1, 2, 3] * 6, strict=True):
        known = item.mask != 255
        bright, inside = item.image[0] > 127, item.mask == 1
        assert inside.sum() > 40
        wide = max_pool2d(inside[None].float(), 3, 1, 1)[0] == 1
        narrow = -max_pool2d(-inside[None].float(), 3, 1, 1)[0] == 1
        # Smooth and nearest sampling part ways on the rim alone, and there to no side.
        assert ((bright != inside) & known & (wide == narrow)).sum() == 0
        centres = [region.logical_and(known).nonzero().float().mean(dim=0) for region in (bright, inside)]
        drifts.append(centres[0] - centres[1])
        moved += not torch.equal(item.mask, plain[index].mask)
        assert set(item.mask.unique().tolist()) <= {0, 1, 255}
    assert moved >= 20
    assert torch.stack(drifts).mean(dim=0).norm() < 0.15, "in register on average"
    assert torch.stack(drifts).norm(dim=1).max() < 0.7


def test_what_comes_into_view_from_outside_is_ignored_in_the_mask_and_never_black_in_the_image(tmp_path):
    Image.new("L", (40, 40), 200).save(tmp_path / "even.png")
    Image.new("L", (40, 40), 1).save(tmp_path / "full.png")
    frame = pl.DataFrame({"image": [str(tmp_path / "even.png")], "mask": [str(tmp_path / "full.png")]})
    config = AugmentConfig(**{**dataclasses.asdict(NO_AUGMENT), "shift": 0.4, "degrees": 45.0})
    items = dataset(frame, 32, augment=config).__getitems__([0] * 20)
    assert all((item.image == 200).all() for item in items)
    outside = [float((item.mask == 255).float().mean()) for item in items]
    assert max(outside) > 0.2
    assert all(set(item.mask.unique().tolist()) <= {1, 255} for item in items)


def test_without_augmentation_training_images_are_the_plain_ones(frame):
    data, plain = dataset(frame, augment=NO_AUGMENT), dataset(frame)
    for index in range(6):
        assert torch.equal(data[index].image, plain[index].image)


def test_a_whole_crop_is_a_plain_resize(frame):
    """The grid of the view is in register with the picture: no half-pixel drift."""
    config = AugmentConfig(**{**dataclasses.asdict(NO_AUGMENT), "degrees": 1e-9})
    data, plain = dataset(frame, augment=config), dataset(frame)
    for index in range(5):
        difference = data[index].image.int() - plain[index].image.int()
        assert difference.abs().max() <= 1
        assert torch.equal(data[index].mask, plain[index].mask)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("brightness", 0.5), ("contrast", 0.5), ("saturation", 0.9), ("hue", 0.4), ("grayscale", 1.0)],
)
def test_colour_changes_touch_the_image_alone(tmp_path, setting, value):
    noise = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    Image.fromarray((noise[:, :, 0] > 99).astype(np.uint8)).save(tmp_path / "m.png")
    frame = pl.DataFrame({"image": [str(tmp_path / "a.png")], "mask": [str(tmp_path / "m.png")]})
    config = AugmentConfig(**{**dataclasses.asdict(NO_AUGMENT), setting: value})
    item, plain = dataset(frame, channels=3, augment=config)[0], dataset(frame, channels=3)[0]
    assert not torch.equal(item.image, plain.image)
    assert torch.equal(item.mask, plain.mask)
    if setting == "grayscale":
        assert torch.equal(item.image[0], item.image[2])


def test_erasing_blanks_a_rectangle_of_the_image_and_leaves_the_mask(frame):
    config = AugmentConfig(**{**dataclasses.asdict(NO_AUGMENT), "erase": 1.0})
    plain = dataset(frame, 64)
    for item in dataset(frame, 64, augment=config).__getitems__([0] * 20):
        changed = (item.image != plain[0].image)[0]
        rows, columns = changed.any(dim=1).nonzero(), changed.any(dim=0).nonzero()
        block = changed[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert block.all()
        assert 0.005 < block.numel() / 64**2 < 0.4
        assert torch.equal(item.mask, plain[0].mask)


def test_eth80_masks_cover_the_object_after_augmentation():
    part = read_table(shared_data("eth80") / "items.csv").part("val").head(41)
    names = {"classes": part["label"].unique().to_list(), "identities": part["identity"].unique().to_list()}
    data = ItemDataset(part, channels=3, transform=train_transform(64), **names)
    batch = collate(data.__getitems__(range(41)))
    share = ((batch.masks == 1).sum() / (batch.masks != 255).sum()).item()
    assert 0.15 < share < 0.9
    assert batch.masks.unique().tolist() == [0, 1, 255]
    assert batch.images.isfinite().all()


@pytest.mark.parametrize("fit", ["pad", "crop"])
def test_image_and_mask_stay_together_in_another_shape_and_what_is_padded_is_ignored(frame, fit):
    """The discs are 40 x 48: in a tall frame bands above and below are filled, or the sides cut."""
    data = ItemDataset(
        frame,
        channels=1,
        classes=[],
        identities=[],
        transform=train_transform(Preprocessing((96, 48), fit), GEOMETRY["all"]),
    )
    assert data.stored(0)[0].shape[-2:] == data.transform.stored == (round(96 * 2**0.5), round(48 * 2**0.5))
    ignored = [float((data.stored(i)[1] == 255).float().mean()) for i in range(5)]
    assert all(share == 0 for share in ignored) if fit == "crop" else min(ignored) > 0.5
    for item in data.__getitems__([0, 1, 2, 3] * 4):
        assert item.image.shape[-2:] == item.mask.shape == (96, 48)
        bright, inside = item.image[0] > 127, item.mask == 1
        # Three times as large, what is smooth and what is nearest part ways on a wider rim.
        wide = max_pool2d(inside[None].float(), 5, 1, 2)[0] == 1
        narrow = -max_pool2d(-inside[None].float(), 5, 1, 2)[0] == 1
        assert ((bright != inside) & (item.mask != 255) & (wide == narrow)).sum() == 0


def test_images_are_stored_so_large_that_the_smallest_crop_need_not_be_enlarged():
    quarter = train_transform((30, 40), dataclasses.replace(NO_AUGMENT, crop=0.25))
    assert (quarter.size, quarter.stored) == ((30, 40), (60, 80))
    assert train_transform(32, NO_AUGMENT) == eval_transform(32)


@pytest.mark.parametrize("size", [0, (4, 0), -3])
def test_a_size_without_pixels_is_refused(size):
    with pytest.raises(InputError, match="images need at least one pixel"):
        eval_transform(size)
