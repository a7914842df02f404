"""A table as loaders: every item once to judge on, P identities with K images each to train on."""

import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from triune.data.augment import AugmentConfig
from triune.data.items import read_table
from triune.errors import InputError
from triune.run import loaders
from triune.run.chosen import chosen_preprocessing
from triune.run.loaders import ItemData
from triune.run.parser import parse_train
from triune.run.preprocessing import StoredPreprocessing, earlier_preprocessing
from triune.run.settings import ImageConfig, TrainConfig

COUNTS = {"ann": 5, "bob": 4, "cat": 3, "dan": 2, "eve": 1}


@pytest.fixture
def table(tmp_path):
    """Images of five identities to train on, two without a name, and six to judge on; all with masks."""
    rows = [(name, "train") for name, count in COUNTS.items() for _ in range(count)] + [("", "train")] * 2
    rows += [("aaa", "val"), ("ann", "val"), ("zoe", "val"), ("aaa", "val"), ("zoe", "test"), ("zoe", "test")]
    lines = ["image,mask,label,identity,split"]
    for place, (name, split) in enumerate(rows):
        Image.fromarray(np.full((8, 8, 3), 10 * place, np.uint8)).save(tmp_path / f"{place}.png")
        Image.fromarray(np.eye(8, dtype=np.uint8)).save(tmp_path / f"{place}-mask.png")
        lines.append(f"{place}.png,{place}-mask.png,{'odd' if place % 2 else 'even'},{name},{split}")
    (tmp_path / "items.csv").write_text("\n".join(lines) + "\n")
    return read_table(tmp_path / "items.csv")


def data_of(table, *flags):
    config = parse_train(["--data", "x.csv", "--images.size", "8", "--batch_size", "8", *flags])
    return ItemData(table, config, ["even", "odd"])


@pytest.mark.parametrize("batch_size", ["3", "4", "50"])
def test_a_loader_gives_every_item_of_a_split_once_in_the_order_of_the_table(table, batch_size):
    batches = list(data_of(table, "--batch_size", batch_size).loader("val"))
    assert torch.cat([batch.rows for batch in batches]).tolist() == [0, 1, 2, 3]
    assert [len(batch) for batch in batches] == {"3": [3, 1], "4": [4], "50": [4]}[batch_size]
    shades = [10 * (sum(COUNTS.values()) + 2 + place) / 255 for place in range(4)]
    red = torch.cat([batch.images for batch in batches])[:, 0, 3, 3] * 0.229 + 0.485
    torch.testing.assert_close(red, torch.tensor(shades), atol=1e-5, rtol=0)


def test_processes_take_turns_of_whole_batches(table, monkeypatch):
    seen = []
    for rank in range(3):
        monkeypatch.setattr(loaders, "own_blocks", lambda blocks, group, rank=rank: blocks[rank::3])
        part = data_of(table, "--batch_size", "4").loader("train", divide_over="three processes")
        seen.append([batch.rows.tolist() for batch in part])
    rows = [list(range(start, min(start + 4, 17))) for start in range(0, 17, 4)]
    assert seen == [rows[0::3], rows[1::3], rows[2::3]]


def test_identities_that_are_trained_on_have_the_first_codes(table):
    data = data_of(table)
    assert data.training_identities == ["ann", "bob", "cat", "dan", "eve"]
    assert data.identities == ["ann", "bob", "cat", "dan", "eve", "aaa", "zoe"]
    assert next(iter(data.loader("val"))).identities.tolist() == [5, 0, 6, 5]


def test_training_batches_hold_p_identities_with_k_images_and_their_share_of_unnamed_items(table):
    data = data_of(table, "--samples_per_class", "2")
    names = data.dataset("train").identity_codes
    batches = list(data.sampler())
    assert batches
    for batch in batches:
        codes, counts = torch.unique(names[batch], return_counts=True)
        # 8 images are 4 identities of 2; 2 of 17 items have no name, and 8 · 2/17 rounds to 1.
        assert codes.tolist()[0] == -1
        assert counts.tolist() == [1, 2, 2, 2, 2]
        assert 4 not in codes.tolist()  # eve has a single image


def test_of_fewer_identities_than_asked_for_all_are_in_every_batch_with_more_images(table):
    data = data_of(table, "--batch_size", "16", "--samples_per_class", "2")
    names = data.dataset("train").identity_codes
    for batch in data.sampler():
        assert torch.unique(names[batch]).tolist() == [-1, 0, 1, 2, 3]
        assert torch.bincount(names[batch] + 1)[1:5].tolist() == [3, 3, 3, 3]  # (16 − 2) // 4


def test_with_one_image_of_an_identity_a_batch_holds_as_many_identities_also_those_of_a_single_image(table):
    data = data_of(table, "--batch_size", "4", "--samples_per_class", "1")
    names = data.dataset("train").identity_codes
    seen = [names[batch] for batch in data.sampler()]
    assert all(len(set(batch.tolist())) == len(batch) for batch in seen)
    assert 4 in torch.cat(seen)  # eve


def test_where_nothing_is_said_batches_suit_the_data(table):
    found = ItemData(data_of(table).table, parse_train(["--data", "x.csv"]), ["even", "odd"])
    assert found.batches[:2] == (16, 3)
    assert found.sampler().samples_per_class == 3


def with_identities(table, *names):
    return replace(table, frame=table.frame.filter(table.frame["identity"].is_in(names)))


def test_without_an_embedding_batches_are_shuffled_anew_each_epoch(table):
    data = data_of(table, "--model.embedding_dim", "0", "--gamma", "0", "--batch_size", "3")
    assert data.sampler() is None
    epochs = []
    for epoch in range(2):
        loader = data.train_dataloader()
        loader.batch_sampler.set_epoch(epoch)
        epochs.append(torch.cat([batch.rows for batch in loader]).tolist())
        assert len(set(epochs[-1])) == len(epochs[-1]) >= 15
    assert epochs[0] != epochs[1]


def test_one_identity_of_several_images_gives_no_triplet_to_balance(table):
    assert data_of(with_identities(table, "dan", "eve")).sampler() is None
    assert data_of(with_identities(table, "dan", "cat", "eve")).sampler() is not None


def test_a_batch_too_small_for_one_identity_is_refused(table):
    with pytest.raises(InputError, match="batch_size 3 is below samples_per_class 4"):
        data_of(table, "--batch_size", "3", "--samples_per_class", "4").sampler()


def test_masks_that_nothing_is_learnt_from_are_not_read(table, tmp_path):
    for path in tmp_path.glob("*-mask.png"):
        path.unlink()
    batch = next(iter(data_of(table, "--beta", "0").loader("val")))
    assert batch.masks.unique().tolist() == [255]
    with pytest.raises(InputError, match=r"mask\.png"):
        next(iter(data_of(table).loader("val")))


def test_only_training_items_are_changed_at_random_and_images_stay_in_memory(table):
    data = data_of(table)
    assert data.dataset("train").transform.steps is not None
    assert data.dataset("val").transform.steps is None
    assert data.dataset("val") is data.dataset("val")
    assert (data.count("train"), data.count("test"), data.count("holdout")) == (17, 2, 0)
    assert data_of(table).val_dataloader() != []
    assert data_of(with_identities(table, "bob", "cat")).val_dataloader() == []


def test_a_loader_fetches_nothing_before_its_first_batch_is_asked_for(table, monkeypatch):
    data = data_of(table)
    fetched = []
    dataset = data.dataset("val")
    monkeypatch.setattr(type(dataset), "__getitems__", lambda self, indices: fetched.append(indices) or [])
    loader = data.loader("val")
    monkeypatch.setattr(loader, "collate_fn", lambda items: items)
    batches = iter(loader)
    assert not fetched
    next(batches)
    assert fetched == [range(4)]


def test_a_batch_is_laid_out_channels_last(table):
    data = data_of(table)
    batch = next(iter(data.loader("val")))
    moved = data.transfer_batch_to_device(batch, torch.device("cpu"), 0)
    assert moved.images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(moved.images, batch.images)


def test_what_a_loader_process_cannot_read_is_said_in_one_line(table, tmp_path):
    (tmp_path / "18.png").unlink()
    with pytest.raises(InputError, match=r"18\.png cannot be read") as refused:
        list(data_of(table, "--images.workers", "1").loader("val"))
    assert "\n" not in str(refused.value)


def test_a_loader_process_that_dies_is_an_error_of_the_environment(table, monkeypatch):
    def killed(*_, **__):
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(loaders, "collate", killed)
    with pytest.raises(ChildProcessError, match="a loader process ended: DataLoader worker"):
        list(data_of(table, "--images.workers", "1").loader("val"))


def test_the_codes_of_identities_may_be_given_and_those_that_are_gone_keep_theirs(table):
    data = ItemData(table, data_of(table).config, ["even"], ["eve", "gone", "ann"])
    assert data.training_identities == ["eve", "gone", "ann"]
    assert data.identities[:3] == ["eve", "gone", "ann"]
    assert set(data.identities[3:]) == {"bob", "cat", "dan", "aaa", "zoe"}


def test_a_signal_while_loader_processes_are_started_takes_effect_when_they_are(tmp_path, monkeypatch):
    """In the middle of a fork its exception would be lost, and its traceback printed."""
    started = []
    begin = torch.utils.data.dataloader._MultiProcessingDataLoaderIter.__init__

    def interrupted(self, loader):
        os.kill(os.getpid(), signal.SIGTERM)
        begin(self, loader)
        started.append(self)

    monkeypatch.setattr(torch.utils.data.dataloader._MultiProcessingDataLoaderIter, "__init__", interrupted)
    loader = loaders._LateLoader([torch.zeros(1), torch.ones(1)], num_workers=1)
    leave, here = signal.getsignal(signal.SIGTERM), []
    signal.signal(signal.SIGTERM, lambda number, frame: here.append(len(started)))
    try:
        assert [each.item() for each in loader] == [0, 1]
    finally:
        signal.signal(signal.SIGTERM, leave)
    assert here == [1]


def test_images_are_prepared_as_it_is_said_and_as_the_settings_ask_where_nothing_is(table):
    asked = data_of(table, "--images.size", "16", "8", "--images.fit", "pad", "--model.backbone", "test_resnet")
    assert asked.images == chosen_preprocessing(asked.config)
    batch = next(iter(asked.loader("val")))
    assert batch.images.shape[-2:] == (16, 8)
    shade = 10 * (sum(COUNTS.values()) + 2) / 255
    torch.testing.assert_close(batch.images[0, 0, 8, 4], torch.tensor(2 * shade - 1), atol=1e-5, rtol=0)
    assert (batch.masks[:, [0, 3, 12, 15]] == 255).all(), "what was filled is ignored"
    assert batch.images[:, :, :4].abs().max() < 0.01, "and is the mean to the network"
    earlier = StoredPreprocessing.model_validate(earlier_preprocessing(8, 3))
    told = ItemData(table, asked.config, ["even", "odd"], images=earlier)
    assert told.dataset("val").transform.preprocessing == earlier.preprocessing


def test_boxes_are_cropped_but_by_runs_from_before_they_were(tmp_path):
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[2:4, 4:8] = 255
    Image.fromarray(picture).save(tmp_path / "a.png")
    rows = [f"a.png,p{k},val,4,2,8,4" for k in range(2)]
    (tmp_path / "items.csv").write_text("image,identity,split,x_1,y_1,x_2,y_2\n" + "\n".join(rows) + "\n")
    table = read_table(tmp_path / "items.csv")
    seen = data_of(table)
    assert (seen.dataset("val").stored(0)[0] == 255).all()
    earlier = StoredPreprocessing.model_validate(earlier_preprocessing(8, 3))
    whole = ItemData(table, seen.config, ["even", "odd"], images=earlier)
    assert np.array_equal(whole.dataset("val").stored(0)[0].permute(1, 2, 0).numpy(), picture)


@pytest.mark.parametrize(
    ("colours", "asked", "expected"), [(True, "auto", 0.5), (False, "auto", 0.0), (False, 0.3, 0.3)]
)
def test_images_without_colours_are_not_mirrored_unless_that_is_asked_for(tmp_path, colours, asked, expected):
    rows = ["image,label,split"]
    for i in range(4):
        colour = (200, 10 * i, 30) if colours else (10 * i,) * 3
        Image.new("RGB", (8, 8), colour).save(tmp_path / f"{i}.png")
        rows.append(f"{i}.png,{'ab'[i % 2]},train")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    config = TrainConfig(images=ImageConfig(augment=AugmentConfig(flip=asked)))
    data = ItemData(read_table(tmp_path / "t.csv"), config, ["a", "b"])
    assert data.augment.flip == expected
    assert data.augment == replace(config.images.augment, flip=expected)
