import json
import math
import os
import stat

import pytest

from triune.files import without_nan, write_json, write_text, written_whole


def test_a_failed_write_leaves_the_old_file_and_no_remains(tmp_path):
    target = tmp_path / "a.txt"
    write_text(target, "old")

    def fail(path):
        with written_whole(path) as temporary:
            temporary.write_text("half of the new")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError):
        fail(target)
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_written_file_has_the_rights_of_any_new_file(tmp_path):
    write_text(tmp_path / "ours", "x")
    (tmp_path / "plain").write_text("x")
    rights = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ours", "plain")]
    assert rights[0] == rights[1]


def test_folders_on_the_way_are_made(tmp_path):
    write_text(tmp_path / "deep" / "er" / "a.txt", "x")
    assert (tmp_path / "deep" / "er" / "a.txt").read_text() == "x"


def test_json_holds_null_for_nan_and_words_for_infinity(tmp_path):
    write_json(tmp_path / "a.json", {"x": [math.nan, math.inf, -math.inf, 1.5], 0.05: True})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": [None, "inf", "-inf", 1.5], "0.05": True}


def test_without_nan_keeps_everything_else():
    value = {"a": [1, "text", None, True, (2.5,)]}
    assert without_nan(value) == {"a": [1, "text", None, True, [2.5]]}
