"""``history.csv``: the rows that training writes and the report reads."""

import math

import pytest

from triune.errors import InputError
from triune.run.history import COLUMNS, read_history, write_history


def test_rows_are_read_back_with_empty_cells_where_a_step_has_no_figure(tmp_path):
    path = tmp_path / "history.csv"
    rows = [
        {"epoch": 0.0, "step": 1.0, "lr": 1e-3, "train_total": math.nan, "chosen_step": 7.0},
        {"epoch": 0.0, "step": 2.0, "lr": 7.5e-4, "train_total": 0.25, "val_tpr": 0.5},
    ]
    write_history(path, rows)
    assert path.read_text().splitlines()[:2] == [",".join(COLUMNS), "0,1,0.001" + "," * (len(COLUMNS) - 3)]
    frame = read_history(path)
    assert frame.columns == list(COLUMNS)
    assert frame["step"].to_list() == [1, 2]
    assert frame["train_total"].to_list() == [None, 0.25]
    assert frame["val_tpr"].to_list() == [None, 0.5]
    assert frame["lr"].to_list() == [0.001, 0.00075]


def test_a_history_without_rows_has_a_header(tmp_path):
    write_history(tmp_path / "history.csv", [])
    assert read_history(tmp_path / "history.csv").shape == (0, len(COLUMNS))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("epoch,step,lr\n0,1,fast\n", r"history\.csv row 2, column lr: 'fast' is not a number"),
        ("epoch,step\n0,1\n0,2.5\n", r"history\.csv row 3, column step: '2\.5' is not a whole number"),
        ("epoch,lr\n0,1\n", r"history\.csv is damaged or another file: it has no column step"),
        ("", r"history\.csv is damaged or another file"),
        (None, r"history\.csv does not exist"),
    ],
)
def test_damage_is_one_line_that_names_row_and_column(tmp_path, text, says):
    if text is not None:
        (tmp_path / "history.csv").write_text(text)
    with pytest.raises(InputError, match=says) as raised:
        read_history(tmp_path / "history.csv")
    assert "\n" not in str(raised.value)
