"""Files beside embeddings: labels, names, groups, templates and scores are read as they are written."""

import json

import numpy as np
import pytest

from triune.cli import main
from triune.errors import InputError
from triune.evaluation.files import read_groups, read_labels, read_names, read_templates

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


@pytest.mark.parametrize(
    "text",
    [
        "Score;Match\n0.9;yes\n0.8;1.0\n0.3;no\n0.2;0.0\n",
        " SCORE , match\n0.9,Y\n0.8,T\n0.3,n\n0.2,F\n",
        "\ufeffmatch\tscore\tnote\r\nTRUE\t0.9\t\r\n1\t0.8\t\r\nFalse\t0.3\t\r\n0\t0.2\t\r\n",
    ],
)
def test_scores_take_the_words_names_and_marks_that_pairs_take(tmp_path, capsys, text):
    (tmp_path / "s.csv").write_bytes(text.encode())
    assert main(["evaluate", "--scores", str(tmp_path / "s.csv"), "--json", "--output", str(tmp_path / "out")]) == 0
    assert json.loads(capsys.readouterr().out)["verification"]["trained"]["test"]["auc"] == 1.0


def test_folds_that_look_like_numbers_stay_apart(tmp_path, capsys):
    lines = [f"{s},{m},{f}" for f in ("1.10", "1.1") for s, m in ((0.9, 1), (0.8, 1), (0.85, 0), (0.1, 0))]
    (tmp_path / "s.csv").write_text("\n".join(["score,match,fold", *lines]))
    assert main(["evaluate", "--scores", str(tmp_path / "s.csv"), "--json", "--output", str(tmp_path / "out")]) == 0
    assert sorted(json.loads(capsys.readouterr().out)["folds"]["names"]) == ["1.1", "1.10"]


def test_scores_without_what_is_needed_are_told(tmp_path, capsys):
    for text, said in (
        ("score,matches\n1,1\n", "rename 'matches' to 'match'"),
        ("similarity,match\n1,1\n", "score (or distance) and match are needed"),
        ("score,match\n0.5,1\n0.4,0,9\n", "row 3: it has 3 cells"),
        ("score;match\n0,5;1\n0,4;0\n", "'0,5' is not a number (write 0.5)"),
    ):
        (tmp_path / "s.csv").write_text(text)
        assert main(["evaluate", "--scores", str(tmp_path / "s.csv"), "--output", str(tmp_path / "out")]) == 2
        assert said in capsys.readouterr().err


def test_labels_of_arrays_are_as_they_are(tmp_path):
    np.save(tmp_path / "l.npy", np.array([3, 1]))
    assert read_labels(tmp_path / "l.npy", 2, tmp_path / "e.npy").tolist() == [3, 1]
