"""Labels as plain arrays and codes, without torch; tests/test_labels.py tests the same by way of tensors."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from triune.labels import encode_labels, encode_labels_together
from triune.plain_labels import beyond_int64, label_codes, label_codes_together, plain_labels

SETS = [
    (["b", "a", "10", "b"], ["c", "b"]),
    ([3, -1, 2**53 + 1], torch.tensor([2**53 + 1, 7])),
    (np.array([2**64 - 1, 3], dtype=np.uint64), [3, -2]),
    (np.array([True, False]), torch.tensor([0, 1], dtype=torch.uint8)),
    ([], ["a"]),
]


@pytest.mark.parametrize(("first", "second"), SETS)
def test_codes_are_equal_exactly_where_labels_are_and_those_of_the_tensors(first, second):
    codes = label_codes_together(first, second)
    values = [*map(_value, first), *map(_value, second)]
    both = np.concatenate(codes)
    assert both.dtype == np.int64
    assert ((both[:, None] == both) == [[a == b for b in values] for a in values]).all()
    assert [each.tolist() for each in codes] == [each.tolist() for each in encode_labels_together(first, second)]
    assert label_codes(first).tolist() == encode_labels(first).tolist()


def _value(label):
    return label.item() if hasattr(label, "item") else label


def test_codes_are_none_of_the_memory_that_was_given():
    given = np.array([4, 5])
    label_codes(given)[0] = 9
    assert given.tolist() == [4, 5]


def test_only_what_int64_cannot_hold_is_beyond_it():
    assert [beyond_int64(np.array([n], dtype=np.uint64)) for n in (0, 2**63 - 1, 2**63)] == [False, False, True]
    assert not beyond_int64(np.array([], dtype=np.uint64))
    assert not beyond_int64(np.array([-1]))


def test_an_error_names_the_row_and_the_set():
    with pytest.raises(ValueError, match=r"names, row 1: the label is missing \(None\)"):
        plain_labels(["a", None], "names")
    with pytest.raises(ValueError, match="who has 2 entries but images has 3 rows"):
        label_codes(["a", "b"], count=3, name="who", against="images")
    with pytest.raises(ValueError, match=r"labels has dtype torch.float32"):
        label_codes(torch.ones(2))
    with pytest.raises(ValueError, match="use one kind of label"):
        label_codes_together(["a"], [1])


def test_torch_is_not_imported_for_them():
    code = "import sys; from triune.plain_labels import label_codes as f; print(f(['b', 'a']), 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[1 0] False\n"
