"""``embeddings.parquet``: what a run said of its held-out items, written and read back."""

import polars
import pytest

from triune.data.boxes import Box, boxes_of
from triune.errors import InputError
from triune.run.judged_items import BOXES, COLUMNS, read_judged_items, write_judged_items


def frame(**changes):
    columns = {
        "row": [2, 3], "image": ["/a.png", "/b.png"], "mask": [None, None], "label": ["cup", None],
        "identity": ["007", None], "split": ["val", "test"], "predicted_label": [None, None],
        "embedding": [[0.5, 1.0], [1.0, 0.0]],
    }  # fmt: skip
    return polars.DataFrame({**columns, **changes})


def test_items_are_read_back_with_the_types_of_the_description(tmp_path):
    path = tmp_path / "embeddings.parquet"
    box = {"x_1": [3, None], "y_1": [1, None], "x_2": [9, None], "y_2": [8, None]}
    write_judged_items(path, frame(extra=[1, 2], **box))
    read = read_judged_items(path)
    assert dict(read.schema) == COLUMNS | BOXES
    assert boxes_of(read) == [Box(3, 1, 9, 8), None]
    assert read["embedding"].to_list() == [[0.5, 1.0], [1.0, 0.0]]
    assert read["identity"].to_list() == ["007", None]


def test_a_file_of_an_earlier_version_knows_whole_images_alone(tmp_path):
    whole = frame().cast({"mask": polars.String, "predicted_label": polars.String})
    whole.cast(polars.Schema(COLUMNS)).write_parquet(tmp_path / "embeddings.parquet")
    read = read_judged_items(tmp_path / "embeddings.parquet")
    assert boxes_of(read) == [None, None]
    assert read["image"].to_list() == ["/a.png", "/b.png"]


def test_damage_is_one_line_that_names_the_column(tmp_path):
    path = tmp_path / "embeddings.parquet"
    frame().cast({"mask": polars.String}).drop("split").write_parquet(path)
    with pytest.raises(InputError, match=r"embeddings\.parquet is damaged or another file: it has no column split"):
        read_judged_items(path)
    words = polars.String
    frame(embedding=["a", "b"]).cast({"mask": words, "predicted_label": words}).write_parquet(path)
    with pytest.raises(
        InputError, match=r"embeddings\.parquet, column embedding: it holds String, not List\(Float32\)"
    ):
        read_judged_items(path)
    path.write_bytes(b"PAR1 cut short")
    with pytest.raises(InputError, match=r"embeddings\.parquet cannot be read as a table"):
        read_judged_items(path)
    with pytest.raises(InputError, match=r"none\.parquet does not exist"):
        read_judged_items(tmp_path / "none.parquet")
