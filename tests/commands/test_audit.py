"""`triune audit`: one command from a run or files to what is wrong with the data; the run stays as it is."""

import json

import numpy as np
import pytest

from conftest import digests
from evaluation.conftest import untrained_run, write_items
from serving.audit.planted import pixels, write_mistakes
from triune.cli import main
from triune.data.boxes import Box


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    untrained_run(folder / "run", write_items(folder))
    rows, mistaken, copied = write_mistakes(folder / "made")
    np.save(folder / "e.npy", pixels(folder / "made", rows))
    return folder, mistaken, copied


def test_a_run_is_audited_into_a_folder_of_its_own(place, capsys):
    run = place[0] / "run"
    before = digests(run)
    assert main(["audit", str(run)]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("60 items of ")
    assert "learned wrong ones by heart" in captured.err
    assert sorted(path.name for path in (run / "evaluations" / "audit-1").iterdir()) == [
        *("audit.csv", "audit.html", "audit.json")
    ]
    assert {name: each for name, each in digests(run).items() if not name.startswith("evaluations/")} == before


def test_the_page_shows_the_boxes_that_were_looked_at(place, tmp_path, monkeypatch):
    images = place[0] / "images"
    rows = [f"{images / f'{i}-{k}.png'},id{i},0,0,{10 + i},12" for i in range(8) for k in range(6)]
    rows[7] = rows[7].replace("id1", "id0")
    (tmp_path / "t.csv").write_text("\n".join(["image,identity,x_1,y_1,x_2,y_2", *rows]) + "\n")
    shown = {}
    monkeypatch.setattr("triune.serving.sheets.thumbnail", lambda source, side, box: shown.update({source: box}))
    asked = ["audit", str(place[0] / "run"), "--data", str(tmp_path / "t.csv"), "--output", str(tmp_path / "found")]
    assert main(asked) == 0
    assert shown, "nothing was found that is shown"
    for path, box in shown.items():
        assert box == Box(0, 0, 10 + int(path.rpartition("/")[2][0]), 12)


def test_files_of_embeddings_are_audited(place, tmp_path, capsys, monkeypatch):
    folder, mistaken, copied = place
    monkeypatch.chdir(tmp_path)
    asked = ["audit", "--embeddings", str(folder / "e.npy"), "--images", str(folder / "made" / "items.csv")]
    assert main([*asked, "--column", "label", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {each["item"]["row"] for each in found["wrong_labels"]} <= mistaken
    assert len(found["duplicates"]) == len(copied)
    assert (tmp_path / "runs" / "audit-e-1" / "audit.html").exists()
    assert main([*asked, "--column", "label", "--output", "here"]) == 0
    assert json.loads((tmp_path / "here" / "audit.json").read_text())["format"] == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "name one thing to audit"),
        (["run", "--embeddings", "e.npy"], "name one thing to audit"),
        (["no-such-run"], "no-such-run"),
        (["--embeddings", "gone.npy", "--labels", "l.txt"], "gone.npy"),
        (["--embeddings", "gone.npy", "--data", "d.csv"], "--data says nothing of --embeddings"),
        (["run", "--labels", "l.txt"], "--labels says nothing of a RUN"),
        (["run", "--least", "0"], "--least"),
        (["timm:resnet10t", "--weights", "gone.safetensors"], "gone.safetensors"),
    ],
)
def test_bad_input_exits_2_with_one_line(arguments, named, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["audit", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert named in captured.err
    assert len(captured.err.strip().splitlines()) == 1
