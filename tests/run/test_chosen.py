"""How a new run prepares images: as its settings say, and otherwise as its backbone was trained."""

import re

import pytest
import timm

from triune.data.preprocessing import Preprocessing
from triune.errors import InputError
from triune.run.chosen import chosen_preprocessing
from triune.run.parser import parse_train


@pytest.mark.parametrize(
    ("flags", "size", "fit"),
    [
        ([], (64, 64), "squash"),
        (["--images.size", "96"], (96, 96), "squash"),
        (["--images.size", "256", "128", "--images.fit", "pad"], (256, 128), "pad"),
        (["--images.fit", "crop", "--images.size=[32,48]"], (32, 48), "crop"),
    ],
)
def test_size_and_shape_come_from_the_settings_and_the_rest_from_the_backbone(flags, size, fit):
    for name in ("resnet18", "test_resnet"):
        said = timm.get_pretrained_cfg(name)
        found = chosen_preprocessing(parse_train(["--model.backbone", name, *flags]))
        assert found.preprocessing == Preprocessing(size, fit, said.interpolation, said.mean, said.std)
        assert found.boxes


def test_grey_images_have_one_number_each():
    found = chosen_preprocessing(parse_train(["--images.channels", "1"]))
    assert (found.mean, found.std) == ((0.449,), (0.226,))


@pytest.mark.parametrize(
    ("flags", "mean", "std"),
    [
        (["--images.mean", "0.5"], (0.5, 0.5, 0.5), (0.229, 0.224, 0.225)),
        (["--images.mean", "0.1", "0.2", "0.3", "--images.std", "1"], (0.1, 0.2, 0.3), (1, 1, 1)),
        (["--images.mean=[0,0,0]", "--images.std=[0.5,0.4,0.3]"], (0, 0, 0), (0.5, 0.4, 0.3)),
        (["--images.channels", "1", "--images.mean", "0.2", "--images.std", "0.3"], (0.2,), (0.3,)),
    ],
)
def test_the_settings_override_what_the_backbone_was_trained_with(flags, mean, std):
    found = chosen_preprocessing(parse_train(flags))
    assert (found.mean, found.std) == (mean, std)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--images.mean", "123.7"], "--images.mean is 123.7: it takes"),
        (["--images.std", "0"], "--images.std is 0"),
        (["--images.mean", "0.1", "0.2"], "--images.mean is"),
        (["--images.channels", "1", "--images.std", "0.1", "0.2", "0.3"], "grey images one channel: give one"),
    ],
)
def test_numbers_that_are_none_of_colours_from_0_to_1_are_refused(flags, said):
    with pytest.raises(InputError, match=re.escape(said)):
        parse_train(flags)
