"""Embeddings as NumPy arrays are what they are as tensors, and are refused in the same words."""

import numpy as np
import pytest
import torch

from triune.distances.embeddings import as_embeddings, check_finite
from triune.distances.plain_embeddings import check_matrix, not_finite, plain_embeddings

ROWS = np.random.default_rng(0).normal(size=(7, 3))


@pytest.mark.parametrize(
    "form",
    [
        ROWS, ROWS.astype(np.float32), ROWS.astype(np.float16), ROWS.tolist(), torch.tensor(ROWS),
        torch.tensor(ROWS, requires_grad=True), torch.tensor(ROWS).bfloat16(), list(torch.tensor(ROWS)),
        np.arange(21).reshape(7, 3),
    ],
    ids=str,
)  # fmt: skip
def test_they_are_those_of_the_tensor(form):
    found = plain_embeddings(form)
    assert isinstance(found, np.ndarray)
    assert found.dtype in (np.float32, np.float64)
    assert found.tolist() == as_embeddings(form).tolist()


@pytest.mark.parametrize(
    "wrong",
    [ROWS[0], np.zeros((2, 2, 2)), ROWS.astype(complex), np.where(ROWS[2] == ROWS, np.nan, ROWS),
     np.full((9, 2), np.inf), ROWS.astype(str), [[1.0], [1.0, 2.0]], torch.full((2, 2), torch.nan)],
    ids=range(8),
)  # fmt: skip
def test_what_is_wrong_is_told_as_of_a_tensor(wrong):
    with pytest.raises(ValueError, match="given") as raised:
        plain_embeddings(wrong, "given")
    with pytest.raises(ValueError, match="given") as theirs:
        check_finite(as_embeddings(wrong, "given"), "given")
    assert str(raised.value).replace("complex128", "") == str(theirs.value).replace("torch.complex128", "")


def test_at_most_five_bad_rows_are_named():
    assert "in 6 of 8 rows (rows 0, 1, 2, 3, 4, …)" in str(not_finite(range(6), 8, "x"))
    assert "in 1 of 8 rows (row 4):" in str(not_finite([4], 8, "x"))
    with pytest.raises(ValueError, match=r"x has shape \(3,\); one embedding a row"):
        check_matrix((3,), "x")
    check_matrix((0, 0), "x")
