"""What the page reads from a folder."""

from pathlib import Path

import pytest

from report.building import run_results
from triune.errors import InputError
from triune.report.contents import read_contents


def test_a_whole_run_is_read(whole_run: Path) -> None:
    found = read_contents(whole_run)
    assert found.results == run_results()
    assert found.items is not None
    assert len(found.items) == 72
    assert found.history is not None
    assert found.settings == "data: digits\nmargin: 0.2\n"
    assert found.has_model


def test_predicted_masks_come_with_their_row_of_the_table(whole_run: Path) -> None:
    masks = read_contents(whole_run).masks
    assert [mask.predicted.name for mask in masks] == [f"{row}.png" for row in range(80, 150, 10)]
    assert all(mask.true.endswith(f"mask-{mask.predicted.name}") for mask in masks)
    assert all(mask.image.endswith(f"image-{mask.predicted.name}") for mask in masks)


def test_a_list_of_scores_has_no_items(run: Path) -> None:
    run_results().model_copy(update={"metric": "score"}).write(run / "metrics.json")
    assert read_contents(run).items is None


def test_bare_results_are_enough(tmp_path: Path) -> None:
    run_results().write(tmp_path / "metrics.json")
    found = read_contents(tmp_path)
    assert (found.items, found.masks, found.history, found.settings, found.has_model) == (None, [], None, None, False)


@pytest.mark.parametrize("name", ["metrics.json", "history.csv", "embeddings.parquet"])
def test_a_damaged_file_is_named(run: Path, name: str) -> None:
    (run / name).write_text("\0")
    with pytest.raises(InputError, match=f"{name} (is damaged|cannot be read as a table)"):
        read_contents(run)


def test_a_folder_without_results_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere does not exist"):
        read_contents(tmp_path / "nowhere")
