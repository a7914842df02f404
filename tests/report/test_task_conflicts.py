"""Who drove the backbone, and where tasks fought: by hand."""

import polars
import pytest

from report.building import history
from triune.report.task_conflicts import drivers, fights


def measured() -> polars.DataFrame:
    """Six steps, of which two were measured; the masks had nothing to learn at the second."""
    return history(6).with_columns(
        train_grad_norm_classification=polars.Series([3.0, None, None, 1.0, None, None]),
        train_grad_norm_segmentation=polars.Series([1.0, None, None, 0.0, None, None]),
        train_grad_norm_triplet=polars.Series([4.0, None, None, 7.0, None, None]),
        train_grad_cosine_classification_segmentation=polars.Series([0.5, None, None, None, None, None]),
        train_grad_cosine_classification_triplet=polars.Series([-0.75, None, None, 0.25, None, None]),
    )


def test_the_task_with_the_largest_gradients_comes_first() -> None:
    found = drivers(measured())
    assert [each.task for each in found] == ["triplets", "classes", "masks"]
    assert [each.norm for each in found] == [5.5, 2.0, 0.5]
    assert [each.share for each in found] == pytest.approx([5.5 / 8, 2 / 8, 0.5 / 8])


def test_the_tasks_that_fight_most_come_first() -> None:
    first, second = fights(measured())
    assert first == ("classes, triplets", -0.25, 0.5)
    assert second == ("classes, masks", 0.5, 0.0)


def test_one_task_alone_drives_all_and_is_not_told() -> None:
    assert drivers(history()) == fights(history()) == []
    alone = history(2).with_columns(train_grad_norm_triplet=polars.Series([1.0, 2.0]))
    assert drivers(alone) == []
    nothing = history(2).with_columns(train_grad_norm_triplet=0.0, train_grad_norm_classification=0.0)
    assert drivers(nothing) == []
