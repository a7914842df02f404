"""What a table says of the items of a split."""

import numpy as np
import polars as pl
import pytest

from made_items import picture
from triune.data.dataset import ItemDataset
from triune.data.items import from_frame
from triune.data.transform import eval_transform
from triune.errors import InputError
from triune.evaluation.known_items import distractors, known_items, with_identity


@pytest.fixture
def dataset(tmp_path):
    rows = [
        ("a", True, False, "c1"),
        ("a", None, True, "c2"),
        (None, False, True, None),
        (None, True, None, "c1"),
        ("b", False, True, None),
    ]
    for number in range(len(rows)):
        picture(tmp_path / f"{number}.png", number)
    frame = pl.DataFrame(rows, schema=["identity", "is_query", "is_gallery", "camera"], orient="row")
    frame = frame.with_columns(pl.Series("image", [f"{number}.png" for number in range(len(rows))]))
    table = from_frame(frame, source="t.csv", folder=tmp_path)
    return ItemDataset(table.frame, channels=3, classes=[], identities=["a", "b"], transform=eval_transform(8))


def test_roles_and_cameras_are_those_of_the_items_with_an_identity(dataset):
    known = known_items(dataset, "t.csv")
    assert known.labels.tolist() == ["a", "a", "b"]
    assert known.roles.is_query.tolist() == [True, False, False]
    assert known.roles.is_gallery.tolist() == [False, True, True]
    assert known.roles.cameras.tolist() == ["c1", "c2", ""]


def test_distractors_are_the_gallery_s_items_without_an_identity(dataset):
    rows = np.arange(5)
    assert with_identity(rows, dataset).tolist() == [0, 1, 4]
    assert distractors(rows, dataset).tolist() == [2]


def test_columns_that_are_asked_for_must_be_there_and_filled(dataset):
    with pytest.raises(InputError, match=r"--groups names the column 'lens': t\.csv has the columns row, image"):
        known_items(dataset, "t.csv", ("lens",))
    with pytest.raises(InputError, match=r"t\.csv row 5, column camera: empty"):
        known_items(dataset, "t.csv", exclude="camera")
