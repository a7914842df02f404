"""Batches of images: image and mask stay together, randomness is repeatable, the cache changes nothing."""

import dataclasses
import pickle

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from torch.nn.functional import max_pool2d
from torch.utils.data import DataLoader

from conftest import shared_data
from triune.data.augment import NO_AUGMENT, AugmentConfig
from triune.data.dataset import Batch, Item, ItemDataset, as_input, collate
from triune.data.decode import read_image, read_mask
from triune.data.items import read_table
from triune.data.transform import MEAN, STD, eval_transform, train_transform
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


@pytest.fixture
def frame(tmp_path):
    """Six pictures of a bright disc, each with the disc as its mask; the last has no mask, label or identity."""
    rows = []
    down, across = np.mgrid[:40, :48]
    for number in range(6):
        disc = (down - 15 - 2 * number) ** 2 + (across - 20 - number) ** 2 < 81
        Image.fromarray(np.where(disc, 250, 5).astype(np.uint8)).save(tmp_path / f"{number}.png")
        Image.fromarray(disc.astype(np.uint8)).save(tmp_path / f"{number}-mask.png")
        known = number < 5
        rows.append(
            {
                "image": str(tmp_path / f"{number}.png"),
                "mask": str(tmp_path / f"{number}-mask.png") if known else None,
                "label": "ab"[number % 2] if known else None,
                "identity": f"p{number // 2}" if known else None,
            }
        )
    return pl.DataFrame(rows)


def dataset(frame, size=32, channels=1, **options):
    transform = train_transform(size, options.pop("augment")) if "augment" in options else None
    names = {"classes": ["a", "b"], "identities": ["p0", "p1"]} | options
    return ItemDataset(frame, size=size, channels=channels, transform=transform, **names)


def test_a_batch_has_the_stated_shapes_types_and_marks_for_missing(frame):
    data = dataset(frame, (24, 32), channels=3)
    batch = collate([data[i] for i in range(6)])
    assert (batch.images.shape, batch.images.dtype) == ((6, 3, 24, 32), torch.float32)
    assert batch.classes.tolist() == [0, 1, 0, 1, 0, -1]
    assert batch.identities.tolist() == [0, 0, 1, 1, -1, -1], "p2 is not among the identities"
    assert (batch.masks.shape, batch.masks.dtype) == ((6, 24, 32), torch.int64)
    assert batch.masks[:5].unique().tolist() == [0, 1]
    assert batch.masks[5].unique().tolist() == [255]
    assert batch.rows.tolist() == list(range(6))
    assert data.class_codes.tolist() == batch.classes.tolist()
    assert data.identity_codes.tolist() == batch.identities.tolist()
    assert len(batch) == 6


def test_images_are_normalised_by_the_mean_and_deviation_of_their_channels(frame):
    for channels in (1, 3):
        data = dataset(frame, (40, 48), channels)
        plain = torch.tensor(np.array(Image.open(frame["image"][0]))).double() / 255
        for c in range(channels):
            expected = (plain - MEAN[channels][c]) / STD[channels][c]
            torch.testing.assert_close(collate([data[0]]).images[0, c].double(), expected, atol=1e-5, rtol=0)
    own = collate([data[0]], mean=[0.5] * 3, std=[0.5] * 3).images
    torch.testing.assert_close(own[0, 0].double(), plain * 2 - 1, atol=1e-6, rtol=0)


def test_a_single_image_is_prepared_exactly_as_in_a_batch(frame):
    data = dataset(frame, 32, 3)
    assert torch.equal(as_input(read_image(frame["image"][2], 3, (32, 32))), collate([data[2]]).images[0])
    assert read_mask(frame["mask"][2], (32, 32)).tolist() == collate([data[2]]).masks[0].tolist()


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


def test_the_same_draw_gives_the_same_change_and_every_other_draw_another(frame):
    config = AugmentConfig(degrees=20)
    first = dataset(frame, augment=config).__getitems__([0, 1, 0])
    again = dataset(frame, augment=config).__getitems__([0, 1, 0])
    assert all(torch.equal(a.image, b.image) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0].image, first[2].image), "twice in a batch: changed in two ways"
    other_batch = dataset(frame, augment=config).__getitems__([0, 2, 0])
    assert not torch.equal(first[0].image, other_batch[0].image)
    other_seed = dataset(frame, augment=config, seed=1).__getitems__([0, 1, 0])
    assert not torch.equal(first[0].image, other_seed[0].image)


def test_random_changes_neither_read_nor_move_the_global_generator(frame):
    data = dataset(frame, augment=AugmentConfig())
    torch.manual_seed(0)
    first = data[0].image
    state = torch.get_rng_state()
    torch.manual_seed(7)
    assert torch.equal(data[0].image, first)
    torch.manual_seed(0)
    data.__getitems__([1, 2])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("workers", [1, 2])
def test_loader_processes_change_nothing(frame, workers):
    def images(count, data):
        options = {"persistent_workers": True} if count else {}
        loader = DataLoader(data, batch_size=2, num_workers=count, collate_fn=collate, **options)
        return [torch.cat([batch.images for batch in loader]) for _ in range(2)]

    data = dataset(frame, augment=AugmentConfig())
    shared, alone = images(workers, data), images(0, dataset(frame, augment=AugmentConfig()))
    assert all(torch.equal(a, b) for a, b in zip(shared, alone, strict=True))
    assert data._cache.known.all(), "what the workers decoded is there for everyone"


def test_what_is_kept_in_memory_is_read_once_and_the_rest_again(frame, tmp_path):
    room_for_two = 2 * 2 * 32 * 32
    data = dataset(frame, cache_bytes=room_for_two)
    before = [data[i].image.clone() for i in range(6)]
    assert all(torch.equal(data[i].image, before[i]) for i in range(6))
    (tmp_path / "1.png").unlink()
    (tmp_path / "2.png").unlink()
    assert torch.equal(data[1].image, before[1])
    with pytest.raises(InputError, match=r"2\.png cannot be read"):
        data[2]
    uncached = dataset(frame, cache_bytes=0)
    assert torch.equal(uncached[0].image, before[0])


def test_changing_an_item_does_not_change_what_is_kept(frame):
    data = dataset(frame, augment=AugmentConfig(erase=1.0, brightness=0.5))
    before = data.stored(0)[0].clone()
    for _ in range(5):
        data.__getitems__([0, 0])
        collate([data[0]])
    assert torch.equal(data.stored(0)[0], before)


def test_a_data_set_can_be_sent_to_a_spawned_process(frame):
    data = dataset(frame, augment=AugmentConfig())
    data[0]
    copy = pickle.loads(pickle.dumps(data))
    assert torch.equal(copy[3].image, data[3].image)


def test_the_largest_mask_id_leaves_255_out(tmp_path):
    ids = np.array([[0, 1, 4, 255]], dtype=np.uint8)
    Image.fromarray(ids).save(tmp_path / "m.png")
    frame = pl.DataFrame({"image": ["unused", "unused"], "mask": [str(tmp_path / "m.png"), None]})
    assert dataset(frame).largest_mask_id() == 4
    assert dataset(frame.drop("mask")).largest_mask_id() == -1


def test_a_batch_moves_as_one():
    item = Item(torch.zeros(1, 2, 2, dtype=torch.uint8), None, 0, 1, 2)
    moved = collate([item]).to("meta")
    assert isinstance(moved, Batch)
    assert all(getattr(moved, field.name).device.type == "meta" for field in dataclasses.fields(Batch))


@pytest.mark.parametrize(
    ("options", "words"),
    [({"channels": 4}, "channels is 4"), ({"size": 0}, "size is 0"), ({"transform": eval_transform(16)}, "size is")],
)
def test_wrong_settings_are_refused(frame, options, words):
    settings = {"size": 32, "channels": 3, "classes": [], "identities": []} | options
    with pytest.raises(InputError, match=words):
        ItemDataset(frame, **settings)


@pytest.mark.parametrize(
    "setting",
    [{"crop": 0}, {"aspect": 0.5}, {"flip": 2}, {"hue": 1}, {"zoom": 1}, {"degrees": -1}, {"erase": float("nan")}],
)
def test_wrong_augmentation_is_refused_by_name(setting):
    with pytest.raises(ValueError, match=rf"AugmentConfig\n{next(iter(setting))}\n"):
        AugmentConfig(**setting)


def test_eth80_masks_cover_the_object_after_augmentation():
    part = read_table(shared_data("eth80") / "items.csv").part("val").head(41)
    names = {"classes": part["label"].unique().to_list(), "identities": part["identity"].unique().to_list()}
    data = ItemDataset(part, size=64, channels=3, transform=train_transform(64), **names)
    batch = collate(data.__getitems__(range(41)))
    share = ((batch.masks == 1).sum() / (batch.masks != 255).sum()).item()
    assert 0.15 < share < 0.9
    assert batch.masks.unique().tolist() == [0, 1, 255]
    assert batch.images.isfinite().all()
