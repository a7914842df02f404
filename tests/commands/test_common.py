import json
import math
import sys

from triune.commands import COMMANDS
from triune.commands.common import command, print_json, progress, tell_left_out
from triune.commands.report import ReportConfig


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
