"""What several test files need: where the real data lie."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def shared_data(name: str) -> Path:
    """A folder of real data beside the repository; the test is skipped where it is not there."""
    folder = ROOT.parent / "shared" / "data" / name
    if not folder.is_dir():
        pytest.skip(f"the data set {name} does not lie beside the repository (shared/data/{name})")
    return folder
