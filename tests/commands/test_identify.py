"""`triune identify`, and likes and dislikes of `triune search`, on a real run: images in, answers out, or one line."""

import html
import json

import pytest

from commands.running import ran, refused
from evaluation.conftest import untrained_run, write_items
from triune.cli import main
from triune.evaluation.judge import Resampling
from triune.evaluation.judge_run import RunQuestions, evaluate_run


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run with four validation identities, and a gallery of the four test identities, two images each."""
    folder = tmp_path_factory.mktemp("identify")
    config, data = untrained_run(folder / "run", write_items(folder))
    evaluate_run(folder / "run", config, data, RunQuestions(resampling=Resampling(40, 0.8, 1)))
    rows = [f"images/{i}-{k}.png,id{i}" for i in range(6, 10) for k in range(2)]
    (folder / "enrolled.csv").write_text("\n".join(["image,identity", *rows]) + "\n")
    assert main(["index", str(folder / "run"), str(folder / "enrolled.csv"), "--output", str(folder / "G")]) == 0
    return folder


def test_an_enrolled_image_is_named_and_the_terms_are_said_beside_the_answer(place, capsys):
    images = [place / "images" / f"{i}-0.png" for i in (6, 9)]
    code, out, err = ran(capsys, "identify", place / "G", *images, "--fpir", 0.5)
    lines = [line.split() for line in out.splitlines()]
    assert code == 0
    assert [line[0] for line in lines] == list(map(str, images))
    assert [line[1:3] for line in lines] == [["id6", "1.0000"], ["id9", "1.0000"]]
    assert lines[0][3] == "then"
    named, promised = err.splitlines()
    assert named.startswith("named from a score of")
    assert named.endswith("of 4 identities, so that 50% of strangers are (FPIR)")
    assert "no promise" in promised


def test_what_the_threshold_rests_on_is_said_in_full_where_that_is_asked(place, capsys):
    image = place / "images" / "6-0.png"
    _, _, err = ran(capsys, "identify", place / "G", image, "--fpir", 0.5, "--verbose")
    assert "4 identities enrolled by 8 images; named from a score of" in err
    assert "of 4 validation identities (24 images)" in err
    assert "nothing is promised: the validation identities chose the checkpoint, too" in err
    assert "caution" not in err


def test_a_rate_that_four_identities_cannot_count_is_said(place, capsys):
    code, out, err = ran(capsys, "identify", place / "G", place / "images" / "0-0.png")
    assert code == 0
    assert out.split()[1] == "unknown"
    assert "caution: 4 identities of strangers can count rates from 25.0% on" in err


def test_json_holds_the_rule_once_and_an_answer_each(place, capsys):
    code, out, _ = ran(
        capsys, "identify", place / "G", place / "images" / "6-0.png", place / "images" / "1-1.png", "--json",
        "--fpir", 0.3,
    )  # fmt: skip
    told = json.loads(out)
    assert code == 0
    assert told["rule"]["enrolled_identities"] == 4
    assert told["rule"]["promised_fpir"] is None
    assert "validation identities" in told["rule"]["no_promise"]
    assert told["answers"][0]["identity"] == "id6"
    assert all((each["identity"] is None) == (each["score"] < told["rule"]["threshold"]) for each in told["answers"])


def test_what_goes_wrong_is_told_in_one_line(place, capsys, tmp_path):
    image = place / "images" / "6-0.png"
    assert "`triune index` makes one" in refused(capsys, "identify", tmp_path / "none", image)
    assert "does not exist" in refused(capsys, "identify", place / "G", tmp_path / "none.png")
    assert "--fpir is 1.5: it takes a number" in refused(capsys, "identify", place / "G", image, "--fpir", 1.5)
    (tmp_path / "broken.png").write_text("no image")
    assert "broken.png cannot be read as an image" in refused(capsys, "identify", place / "G", tmp_path / "broken.png")
    assert main(["index", str(place / "run"), str(place / "images"), "--output", str(tmp_path / "N")]) == 0
    assert "no row of" in refused(capsys, "identify", tmp_path / "N", image)
    where = ("--where", "identity = 'nobody'")
    assert "nobody is enrolled" in refused(capsys, "identify", place / "G", image, *where)


def test_likes_and_dislikes_give_one_list_without_what_was_shown_or_seen(place, capsys, tmp_path):
    like = [place / "images" / f"6-{k}.png" for k in (0, 1)]
    (tmp_path / "seen.csv").write_text(f"image\n{place / 'images' / '7-0.png'}\nelsewhere.png\n")
    code, out, err = ran(
        capsys, "search", place / "G", "--like", *like, "--unlike", place / "images" / "8-0.png", "-k", 20,
        "--seen", tmp_path / "seen.csv", "--diversity", 0.3,
    )  # fmt: skip
    lines = out.splitlines()
    assert code == 0
    assert lines[0] == "like 6-0.png, 6-1.png; unlike 8-0.png"
    found = {line.split()[-1] for line in lines[1:]}
    assert found == {str(place / "images" / name) for name in ("7-1.png", "8-1.png", "9-0.png", "9-1.png")}
    assert "seen.csv: 1 of 2 images are in" in err


def test_images_or_likes_are_looked_for_not_both_and_not_neither(place, capsys):
    image = place / "images" / "6-0.png"
    assert "one of the two" in refused(capsys, "search", place / "G")
    assert "one of the two" in refused(capsys, "search", place / "G", image, "--like", image)
    for given in ([image], []):
        said = refused(capsys, "search", place / "G", *given, "--unlike", image)
        assert "--unlike needs --like: name at least one image that is liked" in said
    assert "--diversity is 2.0: it takes a number" in refused(capsys, "search", place / "G", image, "--diversity", 2)


def test_pages_show_the_images_with_what_was_said_of_them(place, capsys, tmp_path):
    images = [place / "images" / f"{k}.png" for k in ("6-0", "0-0")]
    code, _, err = ran(capsys, "identify", place / "G", *images, "--fpir", 0.01, "--html", tmp_path / "who.html")
    page = (tmp_path / "who.html").read_text()
    assert code == 0
    assert page.count("data:image/jpeg;base64,") == 2 + 2 * 2
    assert "unknown" in page
    assert err.splitlines()[0] == f"written {tmp_path / 'who.html'}"
    assert "caution: 4 identities of strangers" in err
    assert all(html.escape(line) in page for line in err.splitlines()[1:])
    code, _, err = ran(
        capsys, "search", place / "G", "--like", *images, "--unlike", place / "images" / "7-0.png", "-k", 2,
        "--html", tmp_path / "like.html",
    )  # fmt: skip
    page = (tmp_path / "like.html").read_text()
    assert (code, err) == (0, f"written {tmp_path / 'like.html'}\n")
    assert page.count("data:image/jpeg;base64,") == 3 + 2
    assert page.count("disliked") >= 1
    assert "name of a page" in refused(capsys, "identify", place / "G", *images, "--html", tmp_path / "who.txt")


@pytest.mark.parametrize("command", ["search", "identify"])
def test_queries_that_cannot_be_read_are_left_out_where_that_is_asked(place, capsys, tmp_path, command):
    torn, sound = tmp_path / "torn.png", place / "images" / "6-0.png"
    torn.write_bytes(b"no image")
    code, out, err = ran(capsys, command, place / "G", sound, torn, "--skip", "--json")
    answers = json.loads(out)["answers"] if command == "identify" else json.loads(out)
    assert (code, len(answers)) == (0, 1)
    assert f"1 image could not be read and was left out: {torn}" in err
    assert "torn.png" in refused(capsys, command, place / "G", sound, torn)
