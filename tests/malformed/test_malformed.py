"""Every malformed input is refused with exit code 2 (1: the machine) in one line that names it, and nothing is left.

The commands run in this process. Each case has its own folder; files that were there keep their bytes.
"""

import os
import shutil
import time
import warnings

import pytest

from malformed.arrays import ARRAYS
from malformed.environment import ENVIRONMENT
from malformed.images import IMAGES
from malformed.lists import LISTS
from malformed.run_files import RUN_FILES
from malformed.settings import SETTINGS
from malformed.tables import TABLES
from triune.cli import main

CASES = [*TABLES, *LISTS, *IMAGES, *ARRAYS, *RUN_FILES, *SETTINGS, *ENVIRONMENT]
SECONDS = 5
LOCKS = {"RUN/training.lock"}
"""What may be there afterwards: the file of a lock stays, for nobody can tell whether another waits for it."""


def snapshot(folder):
    """Every path with what changes where a file is written: its number, its size and its time."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        found[str(path.relative_to(folder))] = (
            (status.st_ino, status.st_size, status.st_mtime_ns) if path.is_file() else None
        )
    return found


def test_there_are_at_least_300_malformed_inputs_of_different_names():
    assert len({case.name for case in CASES}) == len(CASES) >= 300


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_malformed_input_is_refused_in_one_line_and_leaves_nothing(case, tmp_path, monkeypatch, capfd, trained_run):
    monkeypatch.chdir(tmp_path)
    if "RUN" in case.arguments:
        # Links in place of copies of the weights, but for what the case damages.
        shutil.copytree(trained_run, tmp_path / "RUN", copy_function=os.link)
        for name in case.files:
            if name.startswith("RUN/") and (tmp_path / name).is_file():
                (tmp_path / name).unlink()
                shutil.copy(trained_run / name.removeprefix("RUN/"), tmp_path / name)
    case.write(tmp_path)
    before = snapshot(tmp_path)
    capfd.readouterr()
    started = time.monotonic()
    with warnings.catch_warnings(record=True) as warned:
        code = main(case.arguments)
    seconds = time.monotonic() - started
    out, said = capfd.readouterr()
    assert code == case.code, said
    assert out == ""
    assert len(said.splitlines()) == 1
    assert [words for words in case.says if words not in said] == [], said
    assert said.startswith("triune: ")
    assert "Traceback" not in said
    assert [str(each.message) for each in warned] == []
    assert seconds < SECONDS
    after = snapshot(tmp_path)
    assert sorted(set(after) - set(before) - LOCKS) == []
    assert [name for name in before if after.get(name) != before[name] and name not in LOCKS] == []
