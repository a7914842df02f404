"""Heads that learn from features computed once learn what they would from the images."""

import pytest
import torch

from training.test_train import TINY, train_only, write_items
from triune.data.augment import NO_AUGMENT
from triune.errors import InputError
from triune.run.folder import load_model
from triune.run.history import read_history
from triune.run.parser import parse_train

FROZEN = ["--model.freeze", "all", "--beta", "0", "--seed", "3", "--optimizer.schedule", "constant"]
OFF = [f"--images.augment.{name}={getattr(NO_AUGMENT, name)}" for name in vars(NO_AUGMENT) if name[0] != "_"]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_items(tmp_path_factory.mktemp("items"))


def history(run):
    lines = (run / "history.csv").read_text().splitlines()
    return [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]


@pytest.mark.parametrize("pooling", ["avg", "grid"])
def test_cached_features_train_as_uncached_ones_do(pooling, table, tmp_path, capsys):
    base = ["--data", str(table), *TINY, *FROZEN, "--epochs", "2", "--model.pooling", pooling]
    train_only([*base, *OFF, "--output", str(tmp_path / "uncached")])
    assert "--model.cache_features computes them once" in capsys.readouterr().err
    train_only([*base, "--model.cache_features", "--output", str(tmp_path / "cached")])
    said = capsys.readouterr().err
    assert "features of 36 images computed once" in said
    assert "images are not augmented" in said
    for one, two in zip(history(tmp_path / "cached"), history(tmp_path / "uncached"), strict=True):
        assert one.keys() == two.keys()
        for name, value in one.items():
            if value:
                assert float(value) == pytest.approx(float(two[name]), rel=1e-3, abs=1e-5), name
    one, two = (load_model(tmp_path / name)[0].state_dict() for name in ("cached", "uncached"))
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, two[name], rtol=1e-3, atol=1e-5)
    # The backbone is the one that the run began with, to the last bit; only heads moved.
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items() if name.startswith("backbone."))


def test_images_are_looked_at_once(table, tmp_path, monkeypatch):
    from triune.model.network import MultiTaskModel

    seen, maps = [], MultiTaskModel.maps
    monkeypatch.setattr(MultiTaskModel, "maps", lambda self, x: (seen.append(len(x)), maps(self, x))[1])
    flags = [*TINY, *FROZEN, "--model.cache_features", "--epochs", "5", "--output", str(tmp_path / "run")]
    train_only(["--data", str(table), *flags])
    # 24 to train on, 12 to validate on; one more is no image: whether the size is one that the backbone takes.
    assert sum(count for count in seen if count > 1) == 36


def test_with_masks_it_is_refused(table, tmp_path):
    flags = ["--model.freeze", "all", "--model.cache_features", "--epochs", "1", "--output", str(tmp_path / "run")]
    with pytest.raises(InputError, match=r"cache_features keeps a vector of each image, and masks .*--beta 0"):
        train_only(["--data", str(table), *TINY, *flags])
    assert not (tmp_path / "run").exists()


def test_items_without_identity_are_cached_too(table, tmp_path):
    """Classes alone: batches of the plain sampler."""
    rows = [line.split(",") for line in table.read_text().splitlines()]
    kept = [[f"{table.parent}/{r[0]}", r[2], r[4]] for r in rows[1:]]
    (tmp_path / "items.csv").write_text("\n".join(",".join(r) for r in [["image", "label", "split"], *kept]) + "\n")
    flags = [*TINY, *FROZEN, "--model.cache_features", "--model.embedding_dim", "0", "--epochs", "1"]
    facts = train_only(["--data", str(tmp_path / "items.csv"), *flags, "--output", str(tmp_path / "run")])
    assert facts.steps == 2
    # Figures of embeddings that there are not were made of whatever lay in memory.
    history = read_history(tmp_path / "run" / "history.csv")
    assert history["val_classification"].count() == 1
    assert history["val_tpr"].count() == history["val_auc"].count() == 0


def test_the_settings_of_a_cached_run_keep_the_augmentation_that_was_not_asked_to_change(table, tmp_path):
    config = parse_train(["--data", str(table), *TINY, *FROZEN, "--model.cache_features"])
    assert config.augment == NO_AUGMENT
    assert config.images.augment != NO_AUGMENT
