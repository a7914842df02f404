"""A run folder with every part, and its items."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from report.building import write_run
from triune.report.contents import read_contents
from triune.report.sections import map
from triune.report.shown_items import ShownItems


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    return write_run(tmp_path_factory.mktemp("runs") / "digits")


@pytest.fixture(scope="session")
def items(whole_run: Path) -> ShownItems:
    """The test items of the run."""
    found = read_contents(whole_run).items
    assert found is not None
    return found


@pytest.fixture
def quick_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first two dimensions in place of t-SNE."""
    monkeypatch.setattr(map, "embedding_map", lambda rows: np.clip(rows[:, :2], 0, 1))


@pytest.fixture
def run(whole_run: Path, tmp_path: Path, quick_map: None) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(whole_run, tmp_path / "digits"))
