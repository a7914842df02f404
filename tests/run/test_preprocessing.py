"""How a run's images are prepared: chosen by its settings and its backbone, kept, and that of earlier runs known."""

from triune.data.preprocessing import Preprocessing
from triune.run.chosen import chosen_preprocessing
from triune.run.parser import parse_train
from triune.run.preprocessing import StoredPreprocessing, earlier_preprocessing, prepared_as


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
