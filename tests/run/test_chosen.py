"""How a new run prepares images: as its settings say, and otherwise as its backbone was trained."""

import pytest
import timm

from triune.data.preprocessing import Preprocessing
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
