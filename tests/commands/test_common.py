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


def test_progress_is_one_line_on_a_terminal_and_nothing_elsewhere(capsys, monkeypatch):
    said = progress("embedded")
    said(1, 2)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    said(1000, 2000)
    said(2000, 2000)
    assert capsys.readouterr().err == "\rembedded 1,000 of 2,000\rembedded 2,000 of 2,000\n"


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
