"""How a run's images are prepared: chosen by its settings and its backbone, kept, and that of earlier runs known."""

import pytest
import timm

from triune.data.preprocessing import Preprocessing
from triune.run.parser import parse_train
from triune.run.preprocessing import StoredPreprocessing, chosen_preprocessing, earlier_preprocessing, prepared_as


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


def test_it_is_written_and_read_back_to_the_last_bit():
    found = chosen_preprocessing(parse_train(["--model.backbone", "vit_base_patch16_clip_224"]))
    assert StoredPreprocessing.model_validate_json(found.model_dump_json()) == found
    assert prepared_as(found) == found


def test_earlier_runs_squashed_whole_images_to_a_square_and_normalised_them_as_imagenet_s():
    found = StoredPreprocessing.model_validate(earlier_preprocessing(48, 3))
    assert found.preprocessing == Preprocessing(
        (48, 48), "squash", "bicubic", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    )
    assert not found.boxes
