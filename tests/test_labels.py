"""Labels become codes in which equal labels, and only equal labels, are equal: within one set and across two."""

import unicodedata
from decimal import Decimal
from itertools import product

import numpy as np
import polars
import pytest
import torch

import triune
from triune.labels import encode_labels, encode_labels_together, plain_labels, whole_numbers
from triune.names import MISSING_WORDS

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


class NotAvailable:
    """As ``NA`` of pandas: neither equal to anything nor unequal."""

    def __eq__(self, other):
        return self

    def __ne__(self, other):
        return self

    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")

    def __repr__(self):
        return "<NA>"


class Column:
    """As a series of pandas: read by NumPy through ``__array__``."""

    def __init__(self, cells, dtype=object):
        self.cells = np.empty(len(cells), dtype=dtype)
        self.cells[:] = cells

    def __array__(self, dtype=None, copy=None):
        return self.cells.astype(dtype or self.cells.dtype)


NA = NotAvailable()
MISSING = {
    "None": ["a", "b", None, "b"],
    "NaN among words": ["a", "b", float("nan"), "b"],
    "NaN among numbers": [1, 2, float("nan"), 2],
    "NaN of NumPy": np.array([1.0, 2.0, np.nan, 2.0]),
    "NaN made text by NumPy": np.array(["a", "b", np.nan, "b"]),
    "None made text by NumPy": np.array(["a", "b", None, "b"]).astype(str),
    "NA of pandas": Column([1, 2, NA, 2]),
    "NA of words of pandas": Column(["a", "b", NA, "b"]),
    "NA in a list": ["a", "b", NA, "b"],
    "NaT": [1, 2, np.datetime64("NaT"), 2],
    "NaT of NumPy": np.array(["2020", "2021", "NaT", "2021"], dtype="datetime64[D]"),
    "null of polars": polars.Series([1, 2, None, 2]),
    "null of words of polars": polars.Series(["a", "b", None, "b"]),
    "masked": np.ma.masked_array([1, 2, 3, 2], [False, False, True, False]),
    "empty": ["a", "b", "", "b"],
    "blank": np.array(["a", "b", " \t", "b"]),
    "nothing that is seen": ["a", "b", "\u200b\ufeff", "b"],
    "empty bytes": np.array([b"a", b"b", b"", b"b"]),
    "Decimal": [1, 2, Decimal("nan"), 2],
}
ROWS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
TAKERS = {
    "encode_labels": encode_labels,
    "verify_embeddings": lambda labels: triune.verify_embeddings(ROWS, labels),
    "bootstrap_verification": lambda labels: triune.bootstrap_verification(ROWS, labels),
    "retrieval_metrics": lambda labels: triune.retrieval_metrics(ROWS, labels),
    "prepare": lambda labels: triune.prepare(ROWS, labels),
    "groups": lambda labels: triune.prepare(ROWS, [0, 0, 1, 1], groups=labels),
    "triplet_loss": lambda labels: triune.triplet_loss(torch.from_numpy(ROWS), labels),
    "mine_triplets": lambda labels: triune.mine_triplets(ROWS, labels),
    "sampler": lambda labels: triune.ClassBalancedBatchSampler(labels, 2, 2),
    "few_shot": lambda labels: triune.few_shot(ROWS, labels, ways=2, shots=1, queries=1),
    "clustering_quality": lambda labels: triune.clustering_quality(ROWS, labels),
    "rates_by_condition": lambda labels: triune.rates_by_condition(ROWS, [0, 0, 1, 1], labels, 0.5),
    "metrics": lambda labels: triune.metrics.VerificationMetric().update(ROWS, labels),
}


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("kind", MISSING)
def test_a_missing_label_is_an_error_that_names_its_row_in_every_function(taker, kind):
    with pytest.raises(ValueError, match=r"row 2: the label is missing") as caught:
        TAKERS[taker](MISSING[kind])
    assert "\n" not in str(caught.value)


def test_every_word_for_missing_is_one_and_other_words_are_names():
    for word in MISSING_WORDS:
        with pytest.raises(ValueError, match="row 1: the label is missing"):
            encode_labels(["x", word])
    assert encode_labels(["Nan", "none", "-", "0", "unknown"]).tolist() == [2, 3, 0, 1, 4]


def test_minus_one_is_a_label_like_any_other():
    labels = [-1, -1, 0, 0]
    assert encode_labels(labels).tolist() == labels
    assert triune.verify_embeddings(ROWS, labels).matches == 2
    assert triune.ClassBalancedBatchSampler(labels, 2, 2).classes == 2
    assert triune.ClassBalancedBatchSampler([*labels, 1, 1], 2, 2, unlabelled=-1).classes == 2


def test_numbers_and_strings_do_not_mix_and_floats_are_refused_however_they_come():
    for labels in ([1, "1"], np.array([1, "1"], dtype=object), Column([1, "1"])):
        with pytest.raises(ValueError, match=r"numbers \(row 0: 1\) and strings \(row 1: '1'\): use one kind"):
            encode_labels(labels)
    for labels in ([1, 1.0], np.array([1, 1.0], dtype=object), Column([1.0, 1.0]), torch.ones(2), [1.0, "a"]):
        with pytest.raises(ValueError, match="class labels are integers or strings"):
            encode_labels(labels)
    with pytest.raises(ValueError, match=r"row 1: it is \(1, 2\)|shape"):
        encode_labels([1, (1, 2)])
    with pytest.raises(ValueError, match="row 1: 18446744073709551616 is beyond 64 bits"):
        encode_labels([1, 2**64])
    with pytest.raises(ValueError, match="no UTF-8"):
        encode_labels(np.array([b"\xff"]))


def test_labels_of_data_frames_and_of_any_byte_order_are_the_same_labels():
    expected = encode_labels(["b", "a", "b"]).tolist()
    for words in (Column(["b", "a", "b"]), polars.Series(["b", "a", "b"]), np.array([b"b", b"a", b"b"]),
                  np.array(["b", "a", "b"]).astype(">U1")):  # fmt: skip
        assert encode_labels(words).tolist() == expected
    for numbers in (Column([7, -2, 7]), np.array([7, -2, 7], dtype=">i2"), np.array([7, -2, 7])[::-1],
                    [np.int8(7), -2, np.int64(7)], [torch.tensor(7), -2, 7]):  # fmt: skip
        assert encode_labels(numbers).tolist() == [7, -2, 7]


def test_names_are_compared_in_the_composed_form():
    composed, decomposed = (unicodedata.normalize(form, "Zo\u00eb") for form in ("NFC", "NFD"))
    assert encode_labels([composed, decomposed, "b"]).tolist() == [0, 0, 1]
    assert plain_labels([composed, decomposed]).tolist() == [composed] * 2
    assert [part.tolist() for part in encode_labels_together([composed], [decomposed])] == [[0], [0]]
    assert triune.verify_embeddings(ROWS, [composed, decomposed, composed, "b"]).matches == 3
    assert triune.prepare(ROWS, [composed, decomposed, composed, "b"]).labels.tolist() == [composed, "b"]


@pytest.mark.parametrize("twin", ["An\u200bna", "Anna\ufeff", "\u202aAnna", "Anna ", "Anna\u00a0", "A\u00adnna"])
def test_names_that_differ_by_nothing_that_is_seen_are_refused(twin):
    with pytest.raises(ValueError, match=r"look the same, but are two labels"):
        encode_labels(["Anna", "b", twin])
    with pytest.raises(ValueError, match=r"look the same, but are two labels"):
        encode_labels_together(["Anna", "b"], [twin])
    assert encode_labels(["b", twin]).unique().numel() == 2  # alone it is a name
