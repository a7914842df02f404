"""SECURITY.md: each limit that it states is the code's."""

import csv
import importlib
import re
from pathlib import Path

import pytest

from triune.data.tables import MOST_CHARACTERS, read_cells
from triune.errors import InputError

PAGE = (Path(__file__).resolve().parents[2] / "SECURITY.md").read_text(encoding="utf-8")
LIMITS = re.findall(r"^\| ([^|]+) \| ([\d,]+)[^|]* \| `([\w.]+)` \|$", PAGE, re.MULTILINE)


def test_every_row_of_the_limits_names_a_constant():
    rows = PAGE.partition("## Limits")[2].partition("\n## ")[0]
    assert len(LIMITS) == rows.count("\n| ") - 1 >= 9


@pytest.mark.parametrize(("what", "most", "name"), LIMITS, ids=[name for *_, name in LIMITS])
def test_a_limit_is_that_of_the_code(what, most, name):
    module, _, constant = name.rpartition(".")
    assert getattr(importlib.import_module(module), constant) == int(most.replace(",", ""))


def test_the_limit_of_a_cell_holds_whatever_another_library_set(tmp_path):
    path = tmp_path / "t.csv"
    csv.field_size_limit(10**9)
    path.write_text("a\n" + "x" * MOST_CHARACTERS + "\n")
    assert len(read_cells(path).words("a")[0]) == MOST_CHARACTERS
    path.write_text("a\n" + "x" * (MOST_CHARACTERS + 1) + "\n")
    with pytest.raises(InputError, match=r"row 2: .*field limit"):
        read_cells(path)
