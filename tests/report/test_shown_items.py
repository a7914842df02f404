"""Which items the page shows."""

from pathlib import Path

import numpy as np
import polars
import pytest

from report.building import EACH, digits
from triune.distances.pairwise import pairwise_distance
from triune.report.shown_items import ShownItems, choose_items, spread, varied


def table(**columns: list[object]) -> polars.DataFrame:
    """Three test items and a validation item."""
    rows = {
        "image": ["a.png", "b.png", "c.png", "d.png"],
        "identity": ["1", "1", "2", "2"],
        "split": ["test", "test", "test", "val"],
        "embedding": [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 2.0]],
    }
    return polars.DataFrame({**rows, **columns})


def test_test_items_are_shown_or_validation_items_where_there_are_none() -> None:
    found = choose_items(table(), "cosine")
    assert found is not None
    assert (found.split, found.images) == ("test", ["a.png", "b.png", "c.png"])
    found = choose_items(table(split=["train", "train", "train", "val"]), "cosine")
    assert found is not None
    assert (found.split, found.images) == ("val", ["d.png"])
    assert choose_items(table(split=["train"] * 4), "cosine") is None


def test_items_without_identity_or_with_an_embedding_that_is_not_finite_are_left_out() -> None:
    found = choose_items(table(identity=[None, "1", "2", "2"]), "cosine")
    assert found is not None
    assert found.images == ["b.png", "c.png"]
    found = choose_items(table(embedding=[[float("nan"), 0.0], [0.0, 1.0], [1.0, float("inf")], [0.0, 2.0]]), "cosine")
    assert found is not None
    assert found.images == ["b.png"]
    assert found.embeddings.tolist() == [[0.0, 1.0]]


def test_distances_are_those_of_the_metric(items: ShownItems) -> None:
    _, embeddings, _ = digits()
    all_pairs = pairwise_distance(embeddings[3 * EACH :], metric="cosine").numpy()
    first, second = np.array([0, 5, 70]), np.array([9, 2, 1])
    assert items.distances(first, second) == pytest.approx(all_pairs[first, second], abs=1e-6)


def test_a_lost_image_is_said_to_be_lost(items: ShownItems) -> None:
    assert items.have_images()
    assert items.picture(0).source is not None
    gone = ShownItems(["/gone.png"] * len(items), items.embeddings, items.identities, items.split, items.metric)
    assert not gone.have_images()
    assert gone.picture(0) == (items.identity(0), None)
    assert Path(items.images[0]).is_file()


def test_places_are_spread_from_the_first_to_the_last() -> None:
    assert spread(9, 3).tolist() == [0, 4, 8]
    assert spread(2, 5).tolist() == [0, 1]
    assert spread(0, 5).tolist() == []


def test_every_kind_is_served_once_before_any_is_served_twice() -> None:
    assert varied([10, 11, 12, 13, 14], ["a", "a", "a", "b", "c"], 4) == [10, 11, 13, 14]
    assert varied([10, 11, 12], ["a", "a", "b"], 9) == [10, 11, 12]
