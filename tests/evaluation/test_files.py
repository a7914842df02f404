"""Files of embeddings, labels, names, groups and templates: what is read, and what is refused."""

import dataclasses
import errno
import re

import numpy as np
import polars
import pytest

from evaluation.conftest import N
from triune.errors import InputError
from triune.evaluation.files import (
    other_name,
    read_against,
    read_embeddings,
    read_groups,
    read_labels,
    read_names,
    read_templates,
)

LOOK_ALIKE = ["007", "7", "1e5", "100000", "1.10", "1.1", "12345678901234567890", "12345678901234567891"]


def test_groups_that_look_like_numbers_stay_apart(tmp_path):
    path = tmp_path / "g.csv"
    path.write_text("Session;version\n" + "".join(f"{word};{word}\n" for word in LOOK_ALIKE))
    groups = read_groups(path, len(LOOK_ALIKE), path)
    assert {name: column.tolist() for name, column in groups.items()} == {"Session": LOOK_ALIKE, "version": LOOK_ALIKE}


def test_templates_that_look_like_numbers_stay_apart(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("Template,MEDIA,note\n" + "".join(f"{word},{word},\n" for word in LOOK_ALIKE))
    templates = read_templates(path, len(LOOK_ALIKE), path)
    assert templates.template.tolist() == templates.media.tolist() == LOOK_ALIKE


def test_a_group_without_a_value_is_told_by_its_line(tmp_path):
    path = tmp_path / "g.csv"
    path.write_text('camera,note\n"le\nft",a\n,b\nright,\n')
    with pytest.raises(InputError, match="row 4, column camera: empty"):
        read_groups(path, 3, path)
    path.write_text("camera\nleft\n\nright\n\n\n")
    with pytest.raises(InputError, match="row 3, column camera: empty"):
        read_groups(path, 3, path)


@pytest.mark.parametrize("read", [read_labels, read_names])
@pytest.mark.parametrize("content", ["\ufeffcat\ncat\n", "cat\ncat \n", "cat\ncat\t\n\n", "cat\rcat\r"])
def test_what_is_not_seen_in_a_list_makes_no_other_name(tmp_path, read, content):
    path = tmp_path / "l.txt"
    path.write_bytes(content.encode())
    assert list(read(path, 2, path)) == ["cat", "cat"]


@pytest.mark.parametrize("missing", ["", "NaN", "nan", "NA", "<NA>", "None"])
def test_a_missing_label_is_told_by_its_line(tmp_path, missing):
    path = tmp_path / "l.txt"
    path.write_text(f"a\n{missing}\nb\n")
    with pytest.raises(InputError, match=r"l\.txt, row 2: it is missing"):
        read_labels(path, 3, path)


def test_floats_are_read_as_they_are(tmp_path):
    x = np.arange(12, dtype=np.float16).reshape(4, 3)
    np.save(tmp_path / "x.npy", x)
    read = read_embeddings(tmp_path / "x.npy")
    assert read.dtype == np.float16
    assert (read == x).all()


def test_labels_are_lines_or_an_array(files):
    folder, _, _, y, *_ = files
    np.save(folder / "y.npy", y)
    assert (read_labels(folder / "y.npy", N, folder / "x.npy") == y).all()
    assert read_labels(folder / "y.txt", N, folder / "x.npy")[7] == "person 01"


@pytest.mark.parametrize(
    ("embeddings", "says"),
    [
        ("flat.npy", "(N, D)"),
        ("whole.npy", "holds int64"),
        (".", "cannot be read"),
        ("words.npy", "not a whole .npy"),
        ("objects.npy", "not a whole .npy"),
        ("none.npy", "does not exist"),
    ],
)
def test_embeddings_that_are_none_are_named(files, embeddings, says):
    folder, *_ = files
    np.save(folder / "flat.npy", np.zeros((N, 0)))
    np.save(folder / "whole.npy", np.zeros((N, 2), dtype=np.int64))
    np.save(folder / "objects.npy", np.array([{}, {}]), allow_pickle=True)
    (folder / "words.npy").write_text("words")
    with pytest.raises(InputError) as raised:
        read_embeddings(folder / embeddings)
    said = str(raised.value)
    assert says in said
    assert "\n" not in said
    assert "pickle.load" not in said  # which NumPy advises, and which runs code of the file


@pytest.mark.parametrize(
    ("labels", "says"),
    [(".", "cannot be read"), ("shares.npy", "shares.npy holds float64"), ("two.txt", "2 labels"), ("b", "does not")],
)
def test_labels_that_are_none_are_named(files, labels, says):
    folder, *_ = files
    np.save(folder / "shares.npy", np.arange(N) / N)
    (folder / "two.txt").write_text("a\nb\n")
    with pytest.raises(InputError) as raised:
        read_labels(folder / labels, N, folder / "x.npy")
    assert says in str(raised.value)


def test_names_are_one_a_row(files):
    folder, *_ = files
    assert len(read_names(folder / "y.txt", N, folder / "x.npy")) == N
    with pytest.raises(InputError, match=r"120 names but .* has 3 rows"):
        read_names(folder / "y.txt", 3, folder / "x.npy")


def test_templates_that_do_not_fit_are_named(files):
    folder, _, _, y, *_ = files
    (folder / "mixed.csv").write_text("template\n" + "a\n" * N)
    (folder / "none.csv").write_text("set\n" + "a\n" * N)
    templates = read_templates(folder / "mixed.csv", N, folder / "x.npy")
    with pytest.raises(InputError, match="template a holds images of two labels"):
        templates.labels(y.astype(str), folder / "y.txt")
    with pytest.raises(InputError, match="template is needed"):
        read_templates(folder / "none.csv", N, folder / "x.npy")


def test_another_model_is_called_after_its_file_and_folder_where_both_are_called_alike(tmp_path):
    ours = tmp_path / "a" / "x.npy"
    assert other_name(tmp_path / "b" / "y.npy", ours) == "y"
    assert other_name(tmp_path / "b" / "x.npy", ours) == "b/x"
    assert other_name(tmp_path / "this model.npy", ours) == "this model (other)"


def test_an_archive_and_a_damaged_header_are_no_embeddings(tmp_path):
    np.savez(tmp_path / "several", a=np.ones((2, 2)))
    archive = (tmp_path / "several.npz").read_bytes()
    np.save(tmp_path / "x.npy", np.ones((12, 4)))
    whole = (tmp_path / "x.npy").read_bytes()
    damaged = {
        "archive": archive,
        "cut archive": archive[:100],
        "header": whole.replace(b"(12, 4)", b"(-1,-4 "),
        "huge": whole.replace(b"(12, 4), }      ", b"(10000000000000, 4), }"[:16]),
    }
    for name, content in damaged.items():
        path = tmp_path / f"{name}.npy"
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"{name}\\.npy") as refused:
            read_embeddings(path)
        assert "\n" not in str(refused.value)


def header(text):
    """A .npy file of version 1 with this text for a header."""
    line = text.encode() + b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(line).to_bytes(2, "little") + line


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5000,
        "-" * 9000 + "1",
        "+".join("1" * 4000),
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 30 + ", 4)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 0)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (3,)}",
        "__import__('os').mkdir('made')",
    ],
)
@pytest.mark.parametrize("read", [read_embeddings, lambda path: read_labels(path, 3, path)])
def test_a_header_that_no_parser_gets_through_is_one_line(tmp_path, monkeypatch, text, read):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.npy").write_bytes(header(text))
    with pytest.raises(InputError, match=r"x\.npy ") as refused:
        read(tmp_path / "x.npy")
    assert "\n" not in str(refused.value)
    assert [each.name for each in tmp_path.iterdir()] == ["x.npy"]


def test_long_doubles_are_read_as_float64(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(6, dtype=np.longdouble).reshape(3, 2) / 3)
    rows = read_embeddings(tmp_path / "x.npy")
    assert rows.dtype == np.float64
    assert (rows == np.arange(6).reshape(3, 2) / 3).all()


def test_what_the_machine_cannot_read_is_no_bad_input(tmp_path, monkeypatch):
    def fails(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", "x.npy")

    np.save(tmp_path / "x.npy", np.ones((2, 2)))
    monkeypatch.setattr(np, "load", fails)
    with pytest.raises(PermissionError):
        read_embeddings(tmp_path / "x.npy")


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", ">f8"])
def test_floats_of_up_to_64_bits_keep_their_type(tmp_path, kind):
    np.save(tmp_path / "e.npy", np.ones((2, 3), dtype=kind))
    assert read_embeddings(tmp_path / "e.npy").dtype == kind


def test_another_model_s_rows_are_as_many(tmp_path):
    np.save(tmp_path / "e.npy", np.ones((2, 3)))
    assert read_against(tmp_path / "e.npy", 2, tmp_path / "x.npy").shape == (2, 3)
    with pytest.raises(InputError, match=r"e\.npy has 2 rows but .*x\.npy has 3: the same items in the same order"):
        read_against(tmp_path / "e.npy", 3, tmp_path / "x.npy")


def test_the_template_of_two_labels_is_the_one_that_is_named(tmp_path):
    (tmp_path / "t.csv").write_text("template\nb\na\nc\nb\nc\na\n")
    templates = read_templates(tmp_path / "t.csv", 6, tmp_path / "e.npy")
    assert templates.labels(np.array(["y", "x", "z", "y", "z", "x"]), tmp_path / "l.txt").tolist() == ["x", "y", "z"]
    with pytest.raises(InputError, match="template c holds images of two labels"):
        templates.labels(np.array(["y", "x", "z", "y", "w", "x"]), tmp_path / "l.txt")
    with pytest.raises(InputError, match="template b holds images of two labels"):  # the first of three
        templates.labels(np.array(["y", "x", "z", "v", "w", "u"]), tmp_path / "l.txt")


def test_templates_once_read_stay_as_they_are(tmp_path):
    (tmp_path / "t.csv").write_text("template\na\n")
    templates = read_templates(tmp_path / "t.csv", 1, tmp_path / "e.npy")
    with pytest.raises(dataclasses.FrozenInstanceError):
        templates.template = np.array(["b"])


def test_why_a_file_is_no_array_is_told_in_numpy_s_words(tmp_path, monkeypatch):
    (tmp_path / "e.npy").write_text("words")
    with pytest.raises(InputError, match=r"numbers or strings: (?!ValueError)\w+ .*\w"):
        read_embeddings(tmp_path / "e.npy")

    def fails(*_, **__):
        raise RecursionError

    monkeypatch.setattr(np, "load", fails)
    with pytest.raises(InputError, match=r"numbers or strings: RecursionError$"):
        read_embeddings(tmp_path / "e.npy")


def test_an_empty_line_in_a_table_of_templates_is_a_row_that_is_told(tmp_path):
    """Rows belong to embeddings one by one: none may be passed over."""
    (tmp_path / "t.csv").write_text("template\na\n\nb\n")
    with pytest.raises(InputError, match=r"row 3|3 rows"):
        read_templates(tmp_path / "t.csv", 2, tmp_path / "e.npy")


def parquet(path, **columns):
    """A Parquet file of these columns."""
    polars.DataFrame(columns).write_parquet(path)
    return path


ROWS = [[0.5, 1.0, -2.0], [3.0, 0.25, 8.0]]


@pytest.mark.parametrize("kind", [polars.List(polars.Float32), polars.Array(polars.Float64, 3)])
def test_a_column_of_lists_of_one_length_is_embeddings(tmp_path, kind):
    path = parquet(tmp_path / "e.parquet", embedding=polars.Series(ROWS, dtype=kind))
    rows = read_embeddings(path)
    assert rows.dtype == ("float32" if kind == polars.List(polars.Float32) else "float64")
    assert rows.tolist() == ROWS


def test_embeddings_may_have_one_dimension(tmp_path):
    np.save(tmp_path / "e.npy", np.ones((4, 1)))
    assert read_embeddings(tmp_path / "e.npy").shape == (4, 1)


@pytest.mark.parametrize("shape", [(), (4,), (4, 2, 3)])
def test_floats_of_another_shape_are_no_embeddings(tmp_path, shape):
    np.save(tmp_path / "e.npy", np.ones(shape))
    with pytest.raises(InputError, match=re.escape(f"of shape {shape}; floats of shape (N, D) are needed")):
        read_embeddings(tmp_path / "e.npy")


@pytest.mark.parametrize(
    "cells",
    [
        polars.Series([[1.0, 2.0], [3.0]]),
        polars.Series([[1.0, 2.0], None]),
        polars.Series([[1.0, 2.0], None], dtype=polars.Array(polars.Float32, 2)),
        polars.Series([1.0, 2.0]),
        polars.Series(["1 2", "3 4"]),
    ],
    ids=["two lengths", "a list is missing", "an array is missing", "numbers", "words"],
)
def test_a_column_whose_cells_are_not_lists_of_one_length_is_refused(tmp_path, cells):
    path = parquet(tmp_path / "e.parquet", embedding=cells)
    with pytest.raises(InputError, match=r"e\.parquet, column embedding: each cell must be a list of numbers"):
        read_embeddings(path)


def test_a_column_without_a_row_holds_no_embeddings(tmp_path):
    path = parquet(tmp_path / "e.parquet", embedding=polars.Series([], dtype=polars.List(polars.Float32)))
    with pytest.raises(InputError, match=r"e\.parquet holds no embeddings: it has 0 rows"):
        read_embeddings(path)


def test_labels_and_names_are_columns_of_a_parquet_file(tmp_path):
    words = parquet(tmp_path / "words.parquet", identity=["b", "a", "b"], image=["1.png", "2.png", "3.png"])
    labels = read_labels(words, 3, words)
    assert labels.tolist() == ["b", "a", "b"]
    assert labels.dtype.kind == "U"
    assert read_names(words, 3, words) == ["1.png", "2.png", "3.png"]
    with pytest.raises(InputError, match=r"words\.parquet has 3 names but .* has 2 rows"):
        read_names(words, 2, words)
    numbers = parquet(tmp_path / "numbers.parquet", identity=[7, 0, 7])
    labels = read_labels(numbers, 3, numbers)
    assert labels.tolist() == [7, 0, 7]
    assert labels.dtype.kind == "i"


def test_the_first_row_without_an_identity_is_told(tmp_path):
    path = parquet(tmp_path / "l.parquet", identity=["a", "b", None, "c", None, "d", None])
    with pytest.raises(InputError, match=r"l\.parquet, column identity, row 3: it is empty"):
        read_labels(path, 7, path)


def test_a_file_that_names_no_identity_at_all_is_told_to_need_labels(tmp_path):
    """As `triune embed` writes it of a folder of images."""
    path = tmp_path / "e.parquet"
    polars.DataFrame({"identity": polars.Series([None, None], dtype=polars.String)}).write_parquet(path)
    with pytest.raises(InputError, match=r"e\.parquet says of no row what it shows .*: give --labels"):
        read_labels(path, 2, path)


def test_a_parquet_file_without_the_column_says_which_it_has(tmp_path):
    path = parquet(tmp_path / "e.parquet", who=["a"], what=["b"])
    for read, column in [(read_embeddings, "embedding"), (lambda p: read_labels(p, 1, p), "identity")]:
        with pytest.raises(InputError, match=rf"e\.parquet has no column {column}: it has who, what$"):
            read(path)
    with pytest.raises(InputError, match=r"has no column image: it has none$"):
        read_names(parquet(tmp_path / "empty.parquet"), 1, path)


@pytest.mark.parametrize("shape", [(), (3, 2)])
def test_labels_of_another_shape_are_told_by_it(tmp_path, shape):
    np.save(tmp_path / "l.npy", np.zeros(shape, dtype=int))
    with pytest.raises(InputError, match=re.escape(f"l.npy has labels of shape {shape} but")):
        read_labels(tmp_path / "l.npy", 3, tmp_path / "x.npy")


def test_embeddings_of_no_row_are_named_before_their_labels(tmp_path):
    np.save(tmp_path / "e.npy", np.zeros((0, 4), np.float32))
    with pytest.raises(InputError, match=r"e\.npy holds no embeddings: it has 0 rows"):
        read_embeddings(tmp_path / "e.npy")
    empty = polars.DataFrame({"embedding": polars.Series([], dtype=polars.List(polars.Float32))})
    empty.write_parquet(tmp_path / "e.parquet")
    with pytest.raises(InputError, match=r"e\.parquet holds no embeddings: it has 0 rows"):
        read_embeddings(tmp_path / "e.parquet")
