"""What each split has."""

from report.building import files_results, run_results, shown
from triune.evaluation.results import SplitCounts
from triune.report.sections.data import data_section


def test_every_split_has_its_counts() -> None:
    splits = {
        "train": SplitCounts(images=1000, identities=20, classes=3),
        "holdout": SplitCounts(images=40, identities=4, classes=2),
    }
    data = run_results().data.model_copy(update={"splits": splits})
    page = shown(run_results().model_copy(update={"data": data}))
    assert page.table("Images and identities of each split") == [
        ["split", "images", "identities", "classes"],
        ["training", "1,000", "20", "3"],
        ["holdout trained identities", "40", "4", "2"],
    ]


def test_what_the_split_means_is_said_at_the_top_and_beside_the_counts() -> None:
    for split, meaning in (
        ("open-set", "Open-set split: the identities judged here were never seen in training."),
        ("closed-set", "Closed-set split: training saw other images of the identities judged here."),
        ("given", "The split is the one the table gives."),
    ):
        data = run_results().data.model_copy(update={"split": split})
        page = shown(run_results().model_copy(update={"data": data}))
        assert page.text.count(meaning) == 2
        assert meaning in page.said("data")


def test_files_have_no_splits_to_tell() -> None:
    assert data_section(files_results()) is None
    assert "split is the one the table gives" not in shown(files_results()).text
