"""Batches of images: missing values are marked, randomness is repeatable, the cache changes nothing."""

import dataclasses
import pickle

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from data.discs import dataset
from oracles import as_input
from triune.data.augment import AugmentConfig
from triune.data.dataset import Batch, Item, ItemDataset, collate
from triune.data.decode import read_image, read_mask
from triune.data.transform import eval_transform
from triune.errors import InputError


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


def test_a_single_image_is_prepared_exactly_as_in_a_batch(frame):
    data = dataset(frame, 32, 3)
    alone = as_input(read_image(frame["image"][2], 3, (32, 32)))
    torch.testing.assert_close(alone, collate([data[2]]).images[0], atol=1e-5, rtol=0)
    assert torch.equal(data.input(2), collate([data[2]]).images[0])
    assert read_mask(frame["mask"][2], (32, 32)).tolist() == collate([data[2]]).masks[0].tolist()


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


def test_wrong_settings_are_refused(frame):
    with pytest.raises(InputError, match="channels is 4"):
        ItemDataset(frame, channels=4, classes=[], identities=[], transform=eval_transform(32))
    with pytest.raises(InputError, match="size is 0"):
        eval_transform(0)
