"""`triune fewshot`: one command from a folder of examples to named images, or to figures of a labelled set."""

import json

import pytest

from evaluation.conftest import untrained_run, write_items
from serving.test_few_shot import write_colours
from triune.cli import main
from triune.data.boxes import Box


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fewshot")
    untrained_run(folder / "run", write_items(folder))
    write_colours(folder / "support", 4)
    write_colours(folder / "asked", 2, seed=1)
    return folder


def test_images_are_named(place, tmp_path, capsys):
    asked = ["fewshot", str(place / "run"), "--support", str(place / "support"), "--query", str(place / "asked")]
    assert main([*asked, "--unknown", "false", "--output", str(tmp_path / "found.html")]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert [line.split()[0] for line in lines] == ["label", *["blue"] * 2, *["green"] * 2, *["red"] * 2]
    assert captured.err.startswith("3 classes from 12 images; head ")
    assert (tmp_path / "found.html").read_text().count('<figure class="query') == 6
    assert main([*asked, "--json", "--head", "nearest"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["likeliest"] for each in found] == ["blue"] * 2 + ["green"] * 2 + ["red"] * 2


def test_the_page_shows_the_boxes_that_were_looked_at(place, tmp_path, monkeypatch):
    red, blue = (place / "support" / name / "0.png" for name in ("red", "blue"))
    rows = "".join(
        f"{path},{name},0,0,{right},9\n" for path, name in ((red, "red"), (blue, "blue")) for right in (8, 9)
    )
    (tmp_path / "t.csv").write_text(f"image,label,x_1,y_1,x_2,y_2\n{rows}")
    shown = []
    monkeypatch.setattr("triune.serving.sheets.thumbnail", lambda source, side, box: shown.append((source, box)))
    asked = ["fewshot", str(place / "run"), "--support", str(tmp_path / "t.csv"), "--query", str(tmp_path / "t.csv")]
    assert main([*asked, "--unknown", "false", "--head", "nearest", "--output", str(tmp_path / "found.html")]) == 0
    boxes = {(str(path), Box(0, 0, right, 9)) for path in (red, blue) for right in (8, 9)}
    assert set(shown) == boxes
    assert len(shown) == 4 * 3


def test_a_labelled_set_is_measured(place, capsys):
    asked = ["fewshot", str(place / "run"), "--support", str(place / "support"), "--episodes", "5"]
    assert main([*asked, "--ways", "2", "--shots", "2", "--queries", "2"]) == 0
    assert capsys.readouterr().out.startswith("2-way 2-shot, 5 episodes")
    assert main([*asked, "--ways", "2", "--shots", "2", "--queries", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"]["chosen"]["mean"] > 0.5


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--support", "support"], "give images to name with --query"),
        (["--support", "support", "--query", "asked", "--episodes", "5"], "--query, or a number of --episodes"),
        (["--support", "gone", "--query", "asked"], "gone does not exist"),
        (["--support", "support", "--query", "gone"], "gone does not exist"),
        (["--support", "support/red", "--query", "asked"], "give the folder above"),
        (["--support", "support", "--query", "asked", "--fpir", "0"], "--fpir"),
        (["--support", "support", "--query", "asked", "--output", "x.txt"], "x.txt is neither .csv nor .html"),
        (["--support", "support", "--episodes", "5", "--ways", "9"], "lower ways, shots or queries"),
        (["--query", "asked"], "support"),
    ],
)
def test_bad_input_exits_2_with_one_line(place, flags, named, monkeypatch, capsys):
    monkeypatch.chdir(place)
    assert main(["fewshot", "run", *flags]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert named in captured.err
    assert len([line for line in captured.err.strip().splitlines() if line.startswith("triune: ")]) == 1


def test_of_strangers_that_are_too_few_more_are_asked_for(place, capsys):
    asked = ["fewshot", str(place / "run"), "--support", str(place / "support"), "--query", str(place / "support")]
    assert main([*asked, "--strangers", str(place / "asked" / "red" / "0.png"), "--fpir", "0.1"]) == 0
    assert "so few strangers can tell no share below 50%: more may be named; give more strangers" in (
        capsys.readouterr().err
    )


def test_a_run_that_is_not_there_is_named(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    assert main(["fewshot", "gone", "--support", "support", "--query", "asked"]) == 2
    assert "gone" in capsys.readouterr().err
