"""The settings hold their ranges themselves, whoever fills them in."""

import dataclasses
from typing import get_args, get_type_hints

import pytest
from pydantic import ValidationError

from triune.data.augment import AugmentConfig
from triune.model.weighting import Weighting
from triune.run.settings import (
    ImageConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
    TrainerConfig,
    as_plain,
)

NAN, INFINITE = float("nan"), float("inf")
# The values just inside and just outside of every range.
RANGES = {
    TrainConfig: {
        "epochs": ((1, 100), (0, -1, 1.5)),
        "batch_size": ((2,), (1, 0)),
        "samples_per_class": ((1, 2), (0, -1)),
        "alpha": ((0, 0.5, 10), (-0.1, NAN, INFINITE)),
        "beta": ((0, 10), (-0.1, NAN)),
        "gamma": ((0, 10), (-0.1, NAN)),
        "margin": ((0, 0.2, "soft", "auto"), (-0.1, "hard", NAN)),
        "mining": (("all", "random"), ("softest",)),
        "metric": (("cosine",), ("manhattan",)),
        "seed": ((0, 2**32 - 1), (-1, 2**32)),
        "target_fpr": ((0.001, 0.999), (0, 1, 5, NAN)),
        "fpr_confidence": ((0.001, 0.999), (0, 1, 5, NAN)),
        "calibration": ((0, 0.99), (1, -0.1, NAN)),
        "split": (("auto",), ("random",)),
    },
    ImageConfig: {
        "size": ((1, 512, (256, 128)), (0, -3, (0, 4), (4,), (1, 2, 3), "64 96")),
        "fit": (("squash", "pad", "crop"), ("stretch",)),
        "channels": ((1, 3), (2, 4)),
        "cache_mib": ((0,), (-1,)),
        "collages": ((0,), (-1,)),
        "workers": ((0, 8), (-1,)),
    },
    ModelConfig: {
        "embedding_dim": ((0, 1), (-1,)),
        "embedding_stage": ((-1, 3), (0.5,)),
        "decoder_channels": (((8, 8),), ((8, 0), "wide")),
        "mask_channels": ((0, 1, 255, "auto"), (-1, -2, 256, "many")),
        "dropout": ((0, 0.99), (1, 2, -0.1, NAN)),
        "pooling": (("gem",), ("max",)),
    },
    LossConfig: {
        "dice": ((0, 2), (-1, NAN)),
        "label_smoothing": ((0, 1), (-0.1, 2)),
        "memory": ((0, 10), (-1,)),
        "memory_start": ((0,), (-1,)),
        "weighting": (("uncertainty",), ("none",)),
    },
    OptimizerConfig: {
        "lr": ((1e-9, 1), (0, -1, NAN, INFINITE)),
        "proxy_lr": ((1e-9,), (0, -1)),
        "weight_decay": ((0,), (-1, NAN)),
        "warmup": ((0, 1), (-0.1, 2)),
        "clip": ((0, 1), (-1, NAN)),
        "average": ((0, 0.999), (1, -0.1)),
    },
    TrainerConfig: {
        "accelerator": (("auto", "cpu", "gpu"), ("xyz", "")),
        "devices": ((1, 2, "auto"), (0, -1, "all")),
        "patience": ((0,), (-1,)),
        "validate_every": ((1,), (0, -1)),
        "precision": (("32-true",), ("8-bit",)),
    },
    AugmentConfig: {
        "crop": ((0.01, 1), (0, 1.1)),
        "aspect": ((1, 2), (0.9, INFINITE)),
        "flip": ((0, 1), (-0.1, 2)),
        "zoom": ((0, 0.9), (1, -0.1)),
        "hue": ((0, 0.5), (0.6, -0.1)),
        "degrees": ((0, 180), (-1, NAN)),
    },
}


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [(c, name, value) for c, ranges in RANGES.items() for name, (inside, _) in ranges.items() for value in inside],
)
def test_a_value_inside_its_range_is_taken(settings, name, value):
    assert getattr(settings(**{name: value}), name) == value


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [(c, name, value) for c, ranges in RANGES.items() for name, (_, outside) in ranges.items() for value in outside],
)
def test_a_value_outside_its_range_is_refused_by_name(settings, name, value):
    with pytest.raises(ValidationError) as caught:
        settings(**{name: value})
    assert {problem["loc"][0] for problem in caught.value.errors()} == {name}


@pytest.mark.parametrize("settings", list(RANGES))
def test_every_number_has_a_range(settings):
    bare = [name for name, kind in get_type_hints(settings, include_extras=True).items() if kind in (int, float)]
    assert bare in ([], ["embedding_stage"]), "only a stage may be any whole number: -1 is the deepest"


def test_a_run_without_any_weight_has_nothing_to_learn():
    TrainConfig(alpha=0, beta=0, gamma=0.1)
    with pytest.raises(ValidationError, match="alpha, beta and gamma are all 0"):
        TrainConfig(alpha=0, beta=0, gamma=0)
    with pytest.raises(ValidationError, match="alpha, beta and gamma are all 0"):
        dataclasses.replace(TrainConfig(beta=0, gamma=0), alpha=0)


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().epochs = 3


def test_the_accelerators_are_lightnings():
    from lightning.pytorch.accelerators import AcceleratorRegistry

    known = {*AcceleratorRegistry.available_accelerators(), "auto", "gpu"}
    assert set(get_args(get_type_hints(TrainerConfig)["accelerator"])) <= known


@pytest.mark.parametrize(
    ("given", "masks", "embedding", "pairs"),
    [
        ({}, True, True, True),
        ({"beta": 0}, False, True, True),
        ({"gamma": 0}, True, False, True),
        ({"model": ModelConfig(embedding_dim=0)}, True, False, False),
        ({"model": ModelConfig(mask_channels=0)}, False, True, True),
    ],
)
def test_a_run_knows_what_it_uses(given, masks, embedding, pairs):
    config = TrainConfig(**given)
    assert (config.learns_masks, config.learns_embedding, config.judges_pairs) == (masks, embedding, pairs)


def test_plain_settings_hold_nothing_but_what_yaml_knows(tmp_path):
    plain = as_plain(TrainConfig(output=tmp_path, metric_loss_options={"a": (1, 2)}))
    assert plain["output"] == str(tmp_path)
    assert plain["model"]["decoder_channels"] == [128, 64, 32, 16, 16]
    assert plain["metric_loss_options"] == {"a": [1, 2]}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"trainer": TrainerConfig(precision="16-mixed")}, "too small: take bf16-mixed or 32-true"),
        ({"optimizer": OptimizerConfig(chunk=8)}, "optimizer.chunk 8 are never there at once"),
        ({"model": ModelConfig(freeze="all")}, "model.freeze all are none"),
        ({"trainer": TrainerConfig(devices=2)}, "trainer.devices 2 are divided among processes"),
    ],
)
def test_a_weighting_by_gradients_is_refused_where_they_are_not_to_be_had(settings, said):
    with pytest.raises(ValueError, match=f"loss.weighting upgrad looks at the gradients of the backbone.*{said}"):
        TrainConfig(loss=LossConfig(weighting="upgrad"), **settings)
    TrainConfig(loss=LossConfig(weighting="dwa"), **settings)


def test_the_weightings_of_the_settings_are_those_of_the_objective():
    assert get_args(get_type_hints(LossConfig)["weighting"]) == get_args(Weighting)
