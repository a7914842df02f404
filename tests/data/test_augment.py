"""The settings of random changes: their ranges, and the settings that change nothing."""

import dataclasses

import pytest

from triune.data.augment import NO_AUGMENT, AugmentConfig


def test_no_augmentation_switches_every_change_off():
    off = {"crop": 1.0, "aspect": 1.0}
    fields = [field.name for field in dataclasses.fields(AugmentConfig)]
    assert dataclasses.asdict(NO_AUGMENT) == {name: off.get(name, 0.0) for name in fields}


@pytest.mark.parametrize(
    "setting",
    [{"crop": 0}, {"aspect": 0.5}, {"flip": 2}, {"hue": 1}, {"zoom": 1}, {"degrees": -1}, {"erase": float("nan")}],
)
def test_wrong_augmentation_is_refused_by_name(setting):
    with pytest.raises(ValueError, match=rf"AugmentConfig\n{next(iter(setting))}(\.constrained-float)?\n"):
        AugmentConfig(**setting)
