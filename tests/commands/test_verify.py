"""`triune verify` on the command line: one pair, folders, lists of pairs, and what it says of them."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from evaluation.conftest import untrained_run, write_items
from triune.cli import main
from triune.commands.verify import VerifyConfig
from triune.data.boxes import Box
from triune.files import write_record
from triune.run.thresholds import StoredThresholds
from triune.serving.loaded import load
from triune.verification.roc import verify_scores
from triune.verification.thresholds import fit_threshold


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify")
    untrained_run(folder / "run", write_items(folder))
    run = load(folder / "run", device="cpu")
    rows = run.embed(folder / "images")
    scores, same = np.triu(rows @ rows.T, 1), np.repeat(np.arange(10), 6)
    upper = np.triu_indices(60, 1)
    found = verify_scores(scores[upper], (same[:, None] == same)[upper])
    thresholds = [fit_threshold(found, fpr, metric="cosine", fitted_on="validation pairs") for fpr in (0.5, 0.1)]
    stored = StoredThresholds(metric="cosine", target_fpr=0.5, thresholds=thresholds)
    write_record(folder / "run" / "thresholds.json", stored)
    return folder


def image(place, name):
    return str(place / "images" / f"{name}.png")


def test_the_rate_of_a_verdict_is_a_rate():
    assert VerifyConfig("r", "a", "b", fpr=0.01).fpr == 0.01
    for fpr in (0, 1, -0.1):
        with pytest.raises(ValidationError):
            VerifyConfig("r", "a", "b", fpr=fpr)


@pytest.mark.parametrize("given", [{}, {"first": "a"}, {"first": "a", "pairs": "p"}])
def test_two_sides_or_a_table_of_pairs_are_needed(given):
    with pytest.raises(ValidationError, match="name a first and a second image"):
        VerifyConfig("r", **given)


def test_each_image_of_a_folder_is_compared_with_the_one_but_for_itself(place, tmp_path, capsys):
    assert main(["verify", str(place / "run"), image(place, "0-0"), str(place / "images")]) == 0
    said = capsys.readouterr()
    run = load(place / "run", device="cpu")
    lines = [line.split() for line in said.out.splitlines()]
    assert len(lines) == 59
    for word, distance, first, second in lines:
        alone = run.verify(first, second)
        assert (word == "same") == alone.same
        assert float(distance) == pytest.approx(alone.distance, abs=1e-4)
        assert first == image(place, "0-0")
    assert said.err.startswith("threshold")


def test_a_list_of_pairs_becomes_json_lines_a_table_and_a_page(place, tmp_path, capsys):
    (place / "pairs.csv").write_text("first,second\nimages/0-0.png,images/0-1.png\nimages/0-0.png,images/9-0.png\n")
    out, page = tmp_path / "v.csv", tmp_path / "v.html"
    given = ["verify", str(place / "run"), "--pairs", str(place / "pairs.csv")]
    assert main([*given, "--json", "--csv", str(out), "--html", str(page)]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["first"], each["second"]) for each in found] == [
        (image(place, "0-0"), image(place, "0-1")),
        (image(place, "0-0"), image(place, "9-0")),
    ]
    with out.open() as file:
        assert [row["same"] == "True" for row in csv.DictReader(file)] == [each["same"] for each in found]
    assert page.read_text().count("data:image/jpeg") == 4
    assert main([*given, "--csv", str(out)]) == 2
    assert "is there already" in capsys.readouterr().err


def test_of_a_table_with_boxes_the_page_shows_the_boxes_and_a_wrong_one_is_named_by_its_row(
    place, tmp_path, capsys, monkeypatch
):
    header, first, second = "image,x_1,y_1,x_2,y_2", image(place, "0-0"), image(place, "9-0")
    (tmp_path / "a.csv").write_text(f"{header}\n{first},0,0,16,16\n")
    (tmp_path / "b.csv").write_text(f"{header}\n{second},,,,\n{second},8,8,30,20\n{first},0,4,16,16\n")
    shown = []
    monkeypatch.setattr("triune.serving.sheets.thumbnail", lambda source, side, box: shown.append((source, box)))
    asked = ["verify", str(place / "run"), str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]
    assert main([*asked, "--html", str(tmp_path / "v.html"), "--json"]) == 0
    boxes = [json.loads(line)["boxes"] for line in capsys.readouterr().out.splitlines()]
    assert boxes[0] == [{"left": 0, "top": 0, "right": 16, "bottom": 16}, None]
    first_box = Box(0, 0, 16, 16)
    assert shown.count((first, first_box)) == 3
    assert {each for each in shown if each != (first, first_box)} == {
        (second, None),
        (second, Box(8, 8, 30, 20)),
        (first, Box(0, 4, 16, 16)),
    }
    (tmp_path / "b.csv").write_text(f"{header}\n{second},,,,\n{second},8,8,900,20\n")
    assert main(asked) == 2
    assert (
        f"{tmp_path / 'b.csv'} row 3, column x_2: the box reaches to 900, but the image is" in capsys.readouterr().err
    )


def test_the_exit_status_says_the_verdict_where_it_is_asked_for(place, capsys):
    same = [image(place, "0-0"), image(place, "0-0")]
    unlike = [image(place, "0-0"), image(place, "9-0")]
    strict = ["--fpr", "0.1"]
    assert main(["verify", str(place / "run"), *same, *strict, "--exit-status"]) == 0
    alone = main(["verify", str(place / "run"), *unlike, *strict])
    different = capsys.readouterr().out.splitlines()[-2].startswith("different")
    assert alone == 0
    assert main(["verify", str(place / "run"), *unlike, *strict, "--exit-status"]) == (3 if different else 0)
    assert different


def test_a_rate_between_those_stored_is_said_to_be_kept_by_a_stricter_one(place, capsys):
    given = ["verify", str(place / "run"), image(place, "0-0"), image(place, "0-1"), "--fpr", "0.3"]
    assert main(given) == 0
    assert "no threshold is stored for FPR 30.000%: the one for 10.000% keeps it" in capsys.readouterr().err


def test_images_that_cannot_be_read_are_named_or_their_pairs_left_out(place, tmp_path, capsys):
    (tmp_path / "bad.png").write_text("no image")
    Image.new("RGB", (20, 20), "red").save(tmp_path / "good.png")
    assert main(["verify", str(place / "run"), image(place, "0-0"), str(tmp_path)]) == 2
    assert "bad.png cannot be read as an image" in capsys.readouterr().err
    assert main(["verify", str(place / "run"), image(place, "0-0"), str(tmp_path), "--skip"]) == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 1
    assert "1 image could not be read" in said.err
    bad = str(tmp_path / "bad.png")
    assert main(["verify", str(place / "run"), image(place, "0-0"), bad, "--skip"]) == 2
    assert "no pair could be compared" in capsys.readouterr().err
    table = str(tmp_path / "v.csv")
    assert main(["verify", str(place / "run"), image(place, "0-0"), bad, "--skip", "--csv", table]) == 2
    assert main(["verify", str(place / "run"), *[image(place, "0-0")] * 2, "--csv", table, "--html", "v.txt"]) == 2
    assert not (tmp_path / "v.csv").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("first,second\n", "lists no pair"),
        ("first\na.png\n", "second"),
        ("first,second\na.png,\n", "row 2"),
        ("first,second\nnone.png,none.png\n", "none.png"),
    ],
)
def test_a_list_that_is_none_is_told_in_a_line(place, tmp_path, capsys, text, said):
    (tmp_path / "p.csv").write_text(text)
    assert main(["verify", str(place / "run"), "--pairs", str(tmp_path / "p.csv")]) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert (told.out, told.err.count("\n")) == ("", 1)


@pytest.mark.parametrize("command", ["verify", "predict"])
def test_a_public_backbone_that_can_say_nothing_of_it_is_not_even_fetched(command, monkeypatch, capsys):
    monkeypatch.setattr("triune.serving.loaded.load", None)
    assert main([command, "timm:test_vit", "a.png", "b.png"]) == 2
    assert "timm:test_vit" in capsys.readouterr().err


def test_in_python_the_verdict_itself_says_that_another_rate_decided(place):
    run = load(place / "run", device="cpu")
    assert run.verify(image(place, "0-0"), image(place, "0-1"), fpr=0.3).asked_fpr == 0.3
    assert run.verify(image(place, "0-0"), image(place, "0-1"), fpr=0.1).asked_fpr is None
