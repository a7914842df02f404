"""Numbers as users have them, by every public function that takes embeddings: the same figures, or one line."""

import numpy as np
import polars
import pytest
import torch

import triune
from triune.arrays import as_real, as_tensor

IDENTITY = np.repeat(np.arange(6), 4)
ROWS = np.random.default_rng(0).normal(size=(6, 8))[IDENTITY] + np.random.default_rng(1).normal(size=(24, 8)) / 2
ROWS = ROWS.astype(np.float32)


class Frame:
    """As a data frame of pandas: read by NumPy through ``__array__``."""

    def __init__(self, cells, dtype=None):
        self.cells = np.array(cells, dtype=dtype)

    def __len__(self):
        return len(self.cells)

    def __array__(self, dtype=None, copy=None):
        return self.cells.astype(dtype or self.cells.dtype)


def series(rows):
    """Of lists, as pandas and polars hold them."""
    cells = np.empty(len(rows), dtype=object)
    cells[:] = list(rows)
    return Frame(cells)


def read_only(rows):
    rows = rows.copy()
    rows.flags.writeable = False
    return rows


FORMS = {
    "reversed": lambda rows: rows[::-1].copy()[::-1],
    "columns reversed": lambda rows: rows[:, ::-1].copy()[:, ::-1],
    "every second column": lambda rows: np.repeat(rows, 2, axis=1)[:, ::2],
    "Fortran order": np.asfortranarray,
    "a field of records": lambda rows: np.rec.fromarrays([rows[:, 0], rows], dtype=[("a", "i1"), ("x", "f4", 8)])["x"],
    "big-endian": lambda rows: rows.astype(">f4"),
    "long double": lambda rows: rows.astype(np.longdouble),
    "float64": lambda rows: rows.astype(np.float64),
    "read-only": read_only,
    "Python objects": lambda rows: rows.astype(object),
    "lists": lambda rows: rows.tolist(),
    "a list of arrays": list,
    "a list of tensors": lambda rows: list(torch.from_numpy(rows)),
    "a data frame": Frame,
    "a data frame of objects": lambda rows: Frame(rows, object),
    "a series of lists": series,
    "a series of lists of polars": lambda rows: polars.Series(rows.tolist()),
    "polars": lambda rows: polars.DataFrame(rows, schema=[str(i) for i in range(rows.shape[1])]),
    "nothing masked": np.ma.masked_array,
}
FUNCTIONS = {
    "verify_embeddings": lambda rows: triune.verify_embeddings(rows, IDENTITY).auc,
    "retrieval_metrics": lambda rows: triune.retrieval_metrics(rows, IDENTITY).map_at_r,
    "pairwise_distance": lambda rows: float(triune.pairwise_distance(rows).sum()),
    "triplet_loss": lambda rows: float(triune.triplet_loss(rows, IDENTITY).loss),
    "mine_triplets": lambda rows: len(triune.mine_triplets(rows, IDENTITY).anchor),
    "few_shot": lambda rows: triune.few_shot(rows, IDENTITY, ways=3, shots=1, queries=2, episodes=20).mean,
    "top_k": lambda rows: int(triune.top_k(rows, rows, 3)[1].sum()),
    "check_finite": lambda rows: triune.check_finite(rows) is None,
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("form", FORMS)
def test_the_same_numbers_in_another_form_give_the_same_figures(name, form):
    assert FUNCTIONS[name](FORMS[form](ROWS)) == pytest.approx(FUNCTIONS[name](ROWS), rel=1e-6)


def gap(rows):
    rows = rows.astype(object)
    rows[3, 2] = None
    return rows


BROKEN = {
    "words": (lambda rows: rows.astype(str), "has dtype <U32: numbers are needed"),
    "a gap": (gap, "row 3, column 2 holds nothing; numbers are needed"),
    "a data frame with a gap": (lambda rows: Frame(gap(rows)), "row 3, column 2 holds nothing"),
    "masked": (lambda rows: np.ma.masked_array(rows, rows == rows[5, 1]), "is masked at row 5, column 1"),
    "ragged": (lambda rows: [[1.0, 2.0], [1.0]], "cannot be read as numbers"),
    "tensors of several shapes": (lambda rows: [torch.zeros(2), torch.zeros(3)], "tensors of several shapes"),
    "dates": (lambda rows: np.full((24, 8), np.datetime64("2020-01-01")), "numbers are needed"),
    "a record": (lambda rows: np.zeros((24, 8), dtype=[("x", "f4")]), "numbers are needed"),
    "sparse": (lambda rows: torch.from_numpy(rows).to_sparse(), "a plain one is needed"),
    "a dictionary": (lambda rows: {"x": 1}, "an array is needed"),
    "complex": (lambda rows: rows.astype(complex), "real embeddings only"),
}


@pytest.mark.parametrize("form", BROKEN)
def test_what_is_no_matrix_of_numbers_is_told_in_a_line_that_names_the_place(form):
    change, said = BROKEN[form]
    for name in ("verify_embeddings", "retrieval_metrics", "pairwise_distance", "triplet_loss"):
        with pytest.raises(ValueError, match=said) as caught:
            FUNCTIONS[name](change(ROWS))
        assert "\n" not in str(caught.value)


def test_memory_is_shared_where_torch_can_read_it():
    assert as_tensor(ROWS, "x").data_ptr() == ROWS.ctypes.data
    tensor = torch.zeros(2)
    assert as_tensor(tensor, "x") is tensor


def test_a_list_of_tensors_keeps_its_graph():
    rows = [torch.ones(2, requires_grad=True), torch.zeros(2, requires_grad=True)]
    as_tensor(rows, "x").sum().backward()
    assert rows[0].grad.tolist() == [1, 1]


def test_whole_numbers_keep_their_values():
    for kind in (np.int64, np.uint32, np.int32):
        large = as_real(as_tensor(np.array([[2**24 + 1, 3]], dtype=kind), "x"), "x")
        assert large.dtype == torch.float64
        assert large.tolist() == [[2**24 + 1, 3]]
    assert as_real(as_tensor(np.array([[5, 3]]), "x"), "x").dtype == torch.float32
    assert as_real(torch.tensor([[5, 3]], dtype=torch.int16), "x").dtype == torch.float32


def test_scores_and_flags_are_read_in_the_same_forms():
    scores, flags = np.array([0.9, 0.8, 0.3, 0.1]), np.array([1, 0, 1, 0])
    expected = triune.verify_scores(scores, flags).auc
    for form in (">f8", np.longdouble, object, np.float16):
        assert triune.verify_scores(scores[::-1].astype(form)[::-1], flags.astype(object)).auc == expected
    assert triune.verify_scores(Frame(scores), polars.Series(flags)).auc == expected
    with pytest.raises(ValueError, match="is_match cannot be read as numbers: row 1 holds nothing"):
        triune.verify_scores(scores, [1, None, 1, 0])
    with pytest.raises(ValueError, match="scores is masked at row 0"):
        triune.verify_scores(np.ma.masked_array(scores, scores > 0.85), flags)
