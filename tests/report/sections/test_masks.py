"""Mask figures and samples."""

from pathlib import Path

import numpy as np
from PIL import Image

from report.building import run_results, shown
from triune.evaluation.results import Results, Unavailable
from triune.report.contents import PredictedMask, read_contents
from triune.report.sections.masks import SHOWN, masks_section


def with_masks(**changes: object) -> Results:
    """The results with other mask figures."""
    return run_results().model_copy(update={"segmentation": run_results().segmentation.model_copy(update=changes)})


def test_iou_and_dice_stand_under_their_own_names() -> None:
    said = shown(run_results()).said("masks")
    assert "Over 72 test images the predicted mask overlaps the true one with an IoU of 0.900 (Dice 0.950)" in said
    assert "By mask id" not in said
    assert "By mask id: 0: 0.250, 1: 0.750." in shown(with_masks(per_channel=[0.25, 0.75])).said("masks")


def test_samples_show_true_and_predicted_mask_with_their_overlap(whole_run: Path, tmp_path: Path) -> None:
    first = read_contents(whole_run).masks[0]
    ids = np.asarray(Image.open(first.true))
    half = ids.copy()
    half[: len(half) // 2] = 0
    Image.fromarray(half).save(tmp_path / "half.png")
    section = masks_section(run_results(), [PredictedMask("<8>", first.image, first.true, tmp_path / "half.png")])
    assert section is not None
    (pair,) = section.shown
    assert pair.overlap == (half > 0).sum() / (ids > 0).sum()
    assert pair.true != pair.predicted
    page = shown(run_results(), masks=[PredictedMask("<8>", first.image, first.true, tmp_path / "half.png")])
    assert f"IoU {pair.overlap:.3f}" in page.said("masks")
    assert [attrs["alt"] for tag, attrs in page.tags if tag == "img"] == [
        "<8> with its true mask",
        "<8> with the predicted mask",
    ]


def test_lost_files_are_left_out_and_of_many_a_few_are_shown(whole_run: Path, tmp_path: Path) -> None:
    first = read_contents(whole_run).masks[0]
    section = masks_section(run_results(), [first] * 20 + [PredictedMask("8", "/gone.png", first.true, tmp_path)])
    assert section is not None
    assert len(section.shown) == SHOWN - 1 == 7
    lost = [
        PredictedMask("8", first.image, first.true, tmp_path),
        PredictedMask("8", first.image, tmp_path, first.true),
    ]
    section = masks_section(run_results(), lost)  # one of the two masks is there
    assert section is not None
    assert section.shown == []


def test_masks_that_were_not_judged_say_why_or_nothing() -> None:
    why = run_results().model_copy(update={"segmentation": Unavailable(unavailable="no <masks>")})
    assert "Not measured: no <masks>." in shown(why).said("masks")
    assert masks_section(run_results().model_copy(update={"segmentation": None}), []) is None
