from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from triune.errors import InputError
from triune.run.parser import parse_train
from triune.training.choosing import check_margin_choice, monitored, unchoosable, unverifiable
from triune.training.train import training_data


def items(folder, *flags, **of_validation):
    """Settings and items: classes, masks and pairs to train on, and a validation whose columns are as given."""
    lines = ["image,mask,label,identity,split"]
    for k in range(16):
        split = ("train", "val", "test")[min(k // 8, 1) + k // 12]
        row = {"mask": f"m{k}.png", "label": "ab"[k // 2 % 2], "identity": f"i{k // 2}"}
        row |= {name: made(k) for name, made in of_validation.items()} if split == "val" else {}
        Image.fromarray(np.full((8, 8, 3), 10 * k, np.uint8)).save(folder / f"{k}.png")
        Image.fromarray((np.arange(64).reshape(8, 8) > k).astype(np.uint8)).save(folder / f"m{k}.png")
        lines.append(f"{k}.png,{row['mask']},{row['label']},{row['identity']},{split}")
    (folder / "items.csv").write_text("\n".join(lines) + "\n")
    config = parse_train(["--data", str(folder / "items.csv"), "--alpha", "1", "--images.size", "8", *flags])
    return config, training_data(config, folder)


def nothing(k):
    return ""


NO_PAIRS = {"identity": nothing}
NOTHING = {"identity": nothing, "label": nothing, "mask": nothing}


@pytest.mark.parametrize(
    ("flags", "of_validation", "figure"),
    [
        ([], {}, "val_tpr"),
        ([], NO_PAIRS, "val_classification"),
        ([], {"identity": lambda k: "one"}, "val_classification"),
        (["--alpha", "0"], NO_PAIRS, "val_segmentation"),
        ([], NO_PAIRS | {"label": nothing}, "val_segmentation"),
        ([], NO_PAIRS | {"label": lambda k: "never trained"}, "val_segmentation"),
        ([], NO_PAIRS | {"mask": nothing}, "val_classification"),
        (["--beta", "0"], NO_PAIRS | {"label": nothing}, None),
        ([], NOTHING, None),
    ],
)
def test_the_first_that_validation_can_tell_chooses(tmp_path, flags, of_validation, figure):
    config, data = items(tmp_path, *flags, **of_validation)
    assert monitored(config, data) == figure


def test_that_nothing_can_choose_is_said(tmp_path):
    assert unchoosable(*items(tmp_path)) == []
    config, data = items(tmp_path, **NOTHING)
    (said,) = unchoosable(config, data)
    assert said == "split val: nothing tells by it which epoch is the best; the last one is kept"
    config, data = items(tmp_path, "--trainer.patience", "2", **NOTHING)
    assert unchoosable(config, data) == [said + ", and --trainer.patience has nothing to wait for"]


def test_splits_without_pairs_are_said_where_pairs_are_judged(tmp_path):
    assert unverifiable(*items(tmp_path)) == []
    config, data = items(tmp_path, **NO_PAIRS)
    (said,) = unverifiable(config, data)
    assert said.startswith("split val: ")
    assert said.endswith("; no threshold can be set")
    assert unverifiable(*items(tmp_path, "--gamma", "0", "--model.embedding_dim", "0", **NO_PAIRS)) == []


def test_a_margin_is_chosen_only_by_pairs_and_for_triplets(tmp_path):
    config, data = items(tmp_path, "--margin", "auto")
    check_margin_choice(config, data)
    config, data = items(tmp_path, "--margin", "auto", **NO_PAIRS)
    with pytest.raises(InputError, match="validation images of two identities"):
        check_margin_choice(config, data)
    other = replace(config, metric_loss="sup-con")  # which the command line refuses before
    with pytest.raises(InputError, match="margin auto is for the triplet loss"):
        check_margin_choice(other, data)
