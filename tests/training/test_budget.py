"""What a training settles once the data are known: epochs from steps, and whether there are classes to learn."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from made_items import frame_of
from triune.data.sources.named import load_source
from triune.data.splits import assign_splits
from triune.errors import InputError
from triune.run.batching import batches_for
from triune.run.settings import TrainConfig
from triune.training import budget


def settled(config, table, steps):
    """Of a table whose images have colours: nothing is settled of them."""
    data = SimpleNamespace(table=table, augment=config.images.augment, batches=batches_for(config, [6] * 12))
    return budget.settled(config, data, steps)


PERSONS = [f"p{i:02d}" for i in range(12) for _ in range(6)]


@pytest.mark.parametrize(
    ("asked", "steps_an_epoch", "epochs"),
    [
        ({}, 20, 15),  # 300 steps: what 'auto' has at least
        ({}, 200, 15),
        ({}, 3, 100),
        ({}, 7, 43),
        ({"epochs": 2}, 3, 2),
        ({"steps": 100}, 3, 34),  # whole epochs
        ({"steps": 99}, 3, 33),
        ({"steps": 1}, 500, 1),
        ({"steps": 10, "epochs": 90}, 5, 2),
    ],
)
def test_steps_come_before_epochs_and_small_sets_get_enough_of_them(asked, steps_an_epoch, epochs):
    found = settled(TrainConfig(**asked), assign_splits(frame_of(PERSONS)), steps_an_epoch)
    assert (found.epochs, found.steps) == (epochs, None)
    assert settled(found, assign_splits(frame_of(PERSONS)), 1) == found, "what is settled stays so"


def test_what_the_data_ask_of_batches_is_stored_as_numbers():
    found = settled(TrainConfig(), assign_splits(frame_of(PERSONS)), 20)
    assert (found.batch_size, found.samples_per_class) == (64, 4)
    data = SimpleNamespace(
        table=assign_splits(frame_of(PERSONS)),
        augment=TrainConfig().images.augment,
        batches=batches_for(TrainConfig(), [3, 3]),
    )
    found = budget.settled(TrainConfig(), data, 1)
    assert (found.batch_size, found.samples_per_class) == (6, 3)
    chunked = replace(TrainConfig(), optimizer=replace(TrainConfig().optimizer, chunk=8))
    with pytest.raises(InputError, match=r"optimizer.chunk is 8, and a batch has 6 images"):
        budget.settled(chunked, data, 1)


def test_persons_are_no_classes_unless_they_are_asked_for():
    persons = assign_splits(frame_of(PERSONS, PERSONS), holdout=0)
    assert settled(TrainConfig(), persons, 10).alpha == 0
    assert settled(TrainConfig(alpha=1.0), persons, 10).alpha == 1
    assert settled(TrainConfig(alpha=0.0), persons, 10).alpha == 0


@pytest.mark.parametrize(
    "config", [TrainConfig(gamma=0.0), TrainConfig(model=replace(TrainConfig().model, embedding_dim=0))]
)
def test_where_nothing_else_would_be_learnt_of_them_persons_are_classes(config):
    assert settled(config, assign_splits(frame_of(PERSONS, PERSONS), holdout=0), 10).alpha == 1


def test_classes_that_hold_several_identities_are_learnt():
    kinds = ["cup" if int(name[1:]) % 2 else "dog" for name in PERSONS]
    assert settled(TrainConfig(), assign_splits(frame_of(PERSONS, kinds)), 10).alpha == 1


def test_persons_that_are_tested_themselves_are_classes():
    assert settled(TrainConfig(), assign_splits(frame_of(PERSONS, PERSONS), "closed-set"), 10).alpha == 1


@pytest.mark.parametrize(
    ("columns", "holdout", "held"),
    [("label", "auto", False), ("label", "always", True), ("label", "never", False), ("label,identity", "auto", False)],
)
def test_no_image_is_set_aside_for_a_class_head_that_there_is_not(tmp_path, columns, holdout, held):
    rows = [",".join([f"{i}.png", *[name] * (columns.count(",") + 1)]) for i, name in enumerate(PERSONS)]
    (tmp_path / "t.csv").write_text("\n".join([f"image,{columns}", *rows]))
    frame = load_source(tmp_path / "t.csv", holdout=holdout).frame
    assert frame["split"].is_in(["holdout"]).any() is held


def test_classes_of_several_identities_that_no_test_item_has_are_measured_on_a_holdout(tmp_path):
    # One class an identity but for one class of two: not one to one.
    rows = [f"{i}.png,{'p00' if name == 'p01' else name},{name}" for i, name in enumerate(PERSONS)]
    (tmp_path / "t.csv").write_text("\n".join(["image,label,identity", *rows]))
    table = load_source(tmp_path / "t.csv")
    assert not table.classes_are_identities
    assert "holdout" in set(table.frame["split"])
