"""What a loss is called with becomes one record: own rows, common codes, and a line for what does not fit."""

import numpy as np
import pytest
import torch

from triune.losses.batch import group_by_label, labelled_batch, masks, unit_rows, zero_or_nan
from triune.losses.mining import mine_triplets


def test_without_a_reference_each_item_is_its_own_row():
    x = torch.randn(4, 3)
    batch = labelled_batch(x, ["a", "b", "a", "c"])
    assert batch.y is batch.x
    assert batch.own_rows.tolist() == [0, 1, 2, 3]
    positive, negative = masks(batch)
    assert positive.tolist() == [[False, False, True, False], [False] * 4, [True, False, False, False], [False] * 4]
    assert negative.tolist()[0] == [False, True, False, True]


def test_the_same_object_as_reference_is_the_batch_itself_and_a_copy_is_not():
    x, labels = torch.randn(3, 2), [0, 0, 1]
    assert labelled_batch(x, labels, x, labels).own_rows.tolist() == [0, 1, 2]
    assert labelled_batch(x, labels, x.clone(), labels).own_rows.tolist() == [-1, -1, -1]
    assert labelled_batch(x, labels, x.clone(), labels, torch.tensor([2, -1, 0])).own_rows.tolist() == [2, -1, 0]


def test_masks_of_some_rows_are_those_rows_of_the_masks():
    labels = torch.tensor([0, 1, 0, 2, 1])
    batch = labelled_batch(torch.randn(5, 2), labels)
    for whole, part in zip(masks(batch), masks(batch, slice(1, 4))):
        assert torch.equal(whole[1:4], part)


@pytest.mark.parametrize(
    ("labels", "others"),
    [
        (["dog", "ant"], ["ant", "cat", "dog"]),
        (np.array([7, 2**24 + 1]), torch.tensor([2**24 + 1, 2**24, 7])),
        (torch.tensor([7, 2**24 + 1]), [2**24 + 1, 2**24, 7]),
    ],
)
def test_codes_of_labels_and_reference_labels_are_equal_where_the_labels_are(labels, others):
    batch = labelled_batch(torch.randn(2, 2), labels, torch.randn(3, 2), others)
    assert (batch.codes[:, None] == batch.reference_codes).tolist() == [[False, False, True], [True, False, False]]


def test_string_labels_are_matched_between_batch_and_reference():
    x, y = torch.tensor([[0.0]]), torch.tensor([[1.0], [2.0], [3.0]])
    mined = mine_triplets(x, ["cat"], "hard", reference=y, reference_labels=["ant", "cat", "dog"])
    assert torch.stack(list(mined), 1).tolist() == [[0, 1, 0]]


def test_groups_are_the_runs_of_each_anchors_class():
    groups = group_by_label(torch.tensor([5, 1, 9]), torch.tensor([1, 5, 1, 5, 5]))
    assert groups.order.tolist() == [0, 2, 1, 3, 4]
    assert list(zip(groups.start.tolist(), groups.stop.tolist())) == [(2, 5), (0, 2), (5, 5)]


def test_rows_are_normalised_once_where_reference_and_embeddings_are_one():
    x = torch.tensor([[3.0, 4.0]])
    ours, reference = unit_rows(x, x)
    assert reference is ours
    assert ours.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]
    assert unit_rows(x, None)[1] is None
    assert unit_rows(x, 2 * x)[1].tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]
    batch = labelled_batch(x, [0]).at_unit_length()
    assert batch.y is batch.x


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_row_that_is_not_finite_shows_in_the_zero_that_is_added_to_a_loss(bad):
    x = torch.zeros(3, 2)
    assert zero_or_nan(x).item() == 0
    x[1, 1] = bad
    assert zero_or_nan(x).isnan()


def test_what_does_not_fit_is_named():
    x, labels = torch.randn(4, 3), [0, 0, 1, 1]
    with pytest.raises(ValueError, match=r"labels has 3 entries but embeddings has 4 rows"):
        labelled_batch(x, labels[:3])
    with pytest.raises(ValueError, match=r"reference is given without reference_labels"):
        labelled_batch(x, labels, x)
    with pytest.raises(ValueError, match=r"reference_labels is given without reference"):
        labelled_batch(x, labels, None, labels)
    with pytest.raises(ValueError, match=r"use one kind of label"):
        labelled_batch(x, labels, x.clone(), list("abcd"))
    with pytest.raises(ValueError, match=r"3 wide but the reference is 2 wide"):
        labelled_batch(x, labels, torch.randn(2, 2), [0, 1])
    with pytest.raises(ValueError, match=r"reference_labels has 3 entries but reference has 4 rows"):
        labelled_batch(x, labels, x.clone(), [0, 1, 2])
    with pytest.raises(ValueError, match=r"own_rows has shape \(2,\) but there are 4 embeddings"):
        labelled_batch(x, labels, x.clone(), labels, torch.tensor([0, 1]))
