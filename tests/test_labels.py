"""Labels become codes in which equal labels, and only equal labels, are equal: within one set and across two."""

from itertools import product

import numpy as np
import pytest
import torch

from triune.labels import encode_labels, encode_labels_together, whole_numbers

SETS = {
    "words": (["b", "a", "10", "9", "b"], ["9", "c", "b"]),
    "words as arrays": (np.array(["x", "yy", "x"]), np.array(["yy", "zzz"], dtype=object)),
    "bytes and words": (np.array([b"x", b"y"]), ["y", "z"]),
    "integers": ([3, -1, 3, 7], [7, 7, -1, 2]),
    "array and tensor": (np.array([2**53, 2**53 + 1]), torch.tensor([2**53 + 1, 2**53 + 2])),
    "tensors": (torch.tensor([5, 6], dtype=torch.int16), torch.tensor([6, 7], dtype=torch.uint8)),
    "signed and unsigned": (np.array([2**53 + 1, -4]), np.array([2**53, 2**53 + 1], dtype=np.uint64)),
    "beyond int64": (np.array([2**64 - 1, 2**63, 10], dtype=np.uint64), np.array([10, -1, 9])),
    "beyond int64 and booleans": (np.array([2**63, 1], dtype=np.uint64), np.array([True, False])),
    "booleans": (np.array([True, False]), [0, 1]),
    "first empty": ([], ["a", "b"]),
    "second empty": (np.array([4, 4]), []),
    "both empty": ([], torch.tensor([], dtype=torch.int64)),
}


def plain(labels):
    """Python's own integers and strings, which compare exactly."""
    values = labels.tolist() if isinstance(labels, torch.Tensor | np.ndarray) else labels
    return [value.decode() if isinstance(value, bytes) else value for value in values]


@pytest.mark.parametrize("name", SETS)
def test_codes_of_two_sets_are_equal_exactly_where_the_labels_are(name):
    first, second = SETS[name]
    codes = torch.cat(encode_labels_together(first, second))
    labels = plain(first) + plain(second)
    assert codes.dtype == torch.int64
    assert len(codes) == len(labels)
    for i, j in product(range(len(labels)), repeat=2):
        assert (codes[i] == codes[j]) == (labels[i] == labels[j])


def test_integers_keep_their_values_and_words_their_order():
    assert encode_labels([7, -2, 7]).tolist() == [7, -2, 7]
    assert encode_labels(["b", "10", "9", "b"]).tolist() == [2, 0, 1, 2]
    assert [part.tolist() for part in encode_labels_together([7, 2], [2, -9])] == [[7, 2], [2, -9]]
    assert [part.tolist() for part in encode_labels_together(["b", "d"], ["c", "a"])] == [[1, 3], [2, 0]]


def test_large_integers_never_pass_through_floating_point():
    assert encode_labels(np.array([2**24, 2**24 + 1, 2**53, 2**53 + 1])).unique().tolist() == [
        2**24, 2**24 + 1, 2**53, 2**53 + 1
    ]  # fmt: skip
    assert encode_labels(np.array([2**64 - 1, 2**64 - 2], dtype=np.uint64)).tolist() == [1, 0]


def test_an_error_names_the_set_that_is_wrong_and_what_it_belongs_to():
    names, against = ("probe_labels", "gallery_labels"), ("probes", "gallery")
    with pytest.raises(ValueError, match="gallery_labels has 3 entries but gallery has 2 rows"):
        encode_labels_together([1], [1, 2, 3], counts=(1, 2), names=names, against=against)
    with pytest.raises(ValueError, match="probe_labels has 1 entries but probes has 2 rows"):
        encode_labels_together(["a"], ["a"], counts=(2, None), names=names, against=against)
    with pytest.raises(ValueError, match="probe_labels has dtype int64 and gallery_labels <U1: they cannot be equal"):
        encode_labels_together([1], ["1"], names=names)
    with pytest.raises(ValueError, match="use one kind of label"):
        encode_labels_together(torch.tensor([1]), np.array(["1"], dtype=object))
    with pytest.raises(ValueError, match="gallery_labels has dtype float64"):
        encode_labels_together([1], [1.0], names=names)
    with pytest.raises(ValueError, match=r"labels has dtype torch.float32"):
        encode_labels(torch.ones(2))
    with pytest.raises(ValueError, match=r"labels has shape \(1, 2\)"):
        encode_labels([[1, 2]])


def test_whole_numbers_refuses_what_each_batch_would_number_for_itself():
    assert whole_numbers(np.array([2**63 - 1, 0], dtype=np.uint64), 2).tolist() == [2**63 - 1, 0]
    assert whole_numbers([], 0).shape == (0,)
    for labels in (["a", "b"], np.array([2**63, 0], dtype=np.uint64), np.array(["a", "b"], dtype=object)):
        with pytest.raises(ValueError, match="number them once for all data"):
            whole_numbers(labels, 2)
    with pytest.raises(ValueError, match="labels has 2 entries but embeddings has 3 rows"):
        whole_numbers([1, 2], 3)
    with pytest.raises(ValueError, match="dtype float64"):
        whole_numbers([1.0, 2.0], 2)
