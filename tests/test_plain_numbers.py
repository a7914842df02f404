"""Numbers as NumPy arrays; tests/test_arrays.py reads the same forms into every public function."""

import numpy as np
import polars
import pytest
import torch

from triune.plain_numbers import complex_refused, plain_numbers, real_numbers

ROWS = np.arange(6.0).reshape(3, 2)


@pytest.mark.parametrize(
    "form",
    [
        ROWS.tolist(),
        ROWS.astype(">f8"),
        ROWS[::-1].copy()[::-1],
        ROWS.astype(np.longdouble),
        ROWS.astype(object),
        np.ma.masked_array(ROWS, np.zeros((3, 2), bool)),
        polars.Series(ROWS),
        polars.DataFrame(ROWS),
        [tuple(row) for row in ROWS],
    ],
    ids=lambda each: type(each).__name__,
)
def test_the_same_numbers_in_any_form_are_the_same_array(form):
    found = plain_numbers(form, "x")
    assert found.tolist() == ROWS.tolist()
    assert torch.from_numpy(found.copy()).tolist() == ROWS.tolist()
    assert all(stride > 0 and stride % found.itemsize == 0 for stride in found.strides)  # as torch needs them


def test_memory_is_shared_where_it_can_be():
    assert np.shares_memory(plain_numbers(ROWS, "x"), ROWS)
    assert np.shares_memory(real_numbers(ROWS, "x"), ROWS)


@pytest.mark.parametrize(
    ("given", "kind"),
    [(np.float16, np.float32), (np.float32, np.float32), (np.float64, np.float64), (np.int64, np.float64),
     (np.uint8, np.float64), (bool, np.float64)],
)  # fmt: skip
def test_real_numbers_lose_nothing(given, kind):
    found = real_numbers(np.array([0, 1, 1]).astype(given), "x")
    assert (found.dtype, found.tolist()) == (kind, [0, 1, 1])
    assert real_numbers(np.array([2**53 - 1]), "x").tolist() == [2**53 - 1]


def test_what_is_no_number_is_named():
    with pytest.raises(ValueError, match="x is masked at row 1, column 0"):
        plain_numbers(np.ma.masked_array(ROWS, ROWS == 2), "x")
    with pytest.raises(ValueError, match="x cannot be read as numbers: row 1 holds nothing"):
        plain_numbers([1.0, None], "x")
    with pytest.raises(ValueError, match="x has dtype complex128: distances are defined here for real embeddings only"):
        real_numbers(ROWS.astype(complex), "x")
    assert "y has dtype complex64" in str(complex_refused(np.dtype(np.complex64), "y"))
