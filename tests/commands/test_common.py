import json
import math
import sys

import pytest
import timm
import torch

from triune.cli import main
from triune.commands import COMMANDS
from triune.commands.common import command, loaded, print_json, progress, require_new, tell_left_out
from triune.commands.report import ReportConfig
from triune.errors import InputError


def test_a_command_says_in_its_help_what_the_overview_says_of_it():
    made = command("report", ReportConfig, words=("run",))
    assert (made.name, made.text, made.has_config) == ("triune report", COMMANDS["report"], False)


def test_infinity_and_nan_are_words_in_json_at_any_depth(capsys):
    print_json({"a": [math.inf, {"b": (-math.inf, math.nan)}], "c": 0.5})
    assert json.loads(capsys.readouterr().out) == {"a": ["Infinity", {"b": ["-Infinity", "NaN"]}], "c": 0.5}


def test_progress_is_one_line_on_a_terminal(capsys, monkeypatch):
    said = progress("embedded")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    said(1000, 2000)
    said(2000, 2000)
    assert capsys.readouterr().err == "\rembedded 1,000 of 2,000\rembedded 2,000 of 2,000\n"


def told_at(capsys, moments, of):
    """The lines that progress tells of a command, each with the second in which it is told."""
    now = [0.0]
    said = progress("embedded", lambda: now[0])
    lines = []
    for second, done in moments:
        now[0] = second
        said(done, of)
        lines += [(second, line) for line in capsys.readouterr().err.splitlines()]
    return lines


def test_elsewhere_each_tenth_of_long_work_is_a_plain_line_and_so_is_its_end(capsys):
    steady = told_at(capsys, [(second, 10 * second) for second in range(1, 301)], 3000)
    assert steady == [(second, f"embedded {10 * second:,} of 3,000") for second in range(30, 301, 30)]


def test_lines_are_ten_seconds_apart_at_least_and_a_minute_at_most(capsys):
    quick = told_at(capsys, [(second, 100 * second) for second in range(1, 31)], 3000)
    assert [second for second, _ in quick] == [10, 20, 30]
    slow = told_at(capsys, [(second, second) for second in range(1, 200)], 1_000_000)
    assert [second for second, _ in slow] == [60, 120, 180]


def test_short_work_is_told_nowhere_but_on_a_terminal(capsys):
    assert told_at(capsys, [(1, 64), (9.9, 128)], 128) == []
    assert told_at(capsys, [(12, 128)], 128) == []  # done at once is done, and no progress


def test_what_was_left_out_is_counted_and_the_first_is_named(capsys):
    tell_left_out([])
    assert capsys.readouterr().err == ""
    tell_left_out(["a.png: cut short", "b.png: no image"])
    assert capsys.readouterr().err.startswith("2 images could not be read and were left out; the first is a.png")


def test_what_matched_of_a_file_of_weights_is_told(tmp_path, capsys):
    torch.manual_seed(0)
    torch.save(timm.create_model("test_vit", pretrained=False).state_dict(), tmp_path / "w.pth")
    assert loaded("timm:test_vit", tmp_path / "w.pth").dim == 64
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        f"weights of {tmp_path / 'w.pth'}: 78 of 78 tensors matched; 2 of the file not used (head.weight, head.bias)\n"
    )


def test_what_is_there_is_not_written_over(tmp_path):
    (tmp_path / "page.html").write_text("mine")
    (tmp_path / "empty").mkdir()
    require_new(None, tmp_path / "new.html", tmp_path / "empty")
    with pytest.raises(InputError, match=r"page\.html is there already: name a new file"):
        require_new(tmp_path / "new.csv", tmp_path / "page.html")
    with pytest.raises(InputError, match="is there already: name a new folder"):
        require_new(tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        ["search", "gone", "a.png", "--html", "there.html"],
        ["search", "gone", "a.png", "--csv", "there.csv"],
        ["gallery", "gone", "--duplicates", "0.1", "--html", "there.html"],
        ["identify", "gone", "a.png", "--html", "there.html"],
        ["fewshot", "gone", "--support", "s", "--query", "q", "--output", "there.csv"],
        ["audit", "gone", "--output", "full"],
        ["verify", "gone", "a.png", "b.png", "--html", "there.html"],
    ],
)
def test_every_command_refuses_it_before_anything_is_loaded(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    for name in ("there.html", "there.csv", "full/audit.json"):
        (tmp_path / name).write_text("mine")
    assert main(arguments) == 2
    assert "is there already: name a new" in capsys.readouterr().err
    assert (tmp_path / arguments[-1]).is_dir() or (tmp_path / arguments[-1]).read_text() == "mine"
