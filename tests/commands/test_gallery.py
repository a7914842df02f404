"""`triune gallery`: what is there, what is removed, what is nearly the same."""

import json
import shutil

import pytest

from evaluation.conftest import untrained_run, write_items
from triune.cli import main


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gallery")
    items = write_items(folder)
    untrained_run(folder / "run", items)
    shutil.copy(folder / "images" / "2-1.png", folder / "images" / "copy.png")
    with items.open("a") as file:
        file.write("images/copy.png,,odd,id9,test,c0,s0\n")
    assert main(["index", str(folder / "run"), str(items), "--output", str(folder / "G")]) == 0
    return folder


@pytest.fixture
def gallery(made, tmp_path):
    shutil.copytree(made / "G", tmp_path / "G")
    return tmp_path / "G"


def ran(capsys, *arguments):
    capsys.readouterr()
    code = main(["gallery", *map(str, arguments)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_it_says_what_a_gallery_holds(gallery, capsys):
    code, out, err = ran(capsys, gallery, "--where", "label = 'odd'")
    assert (code, err) == (0, "")
    assert "61 images, 31 of which meet the condition" in out
    assert "camera" in out
    about = json.loads(ran(capsys, gallery, "--json")[1])
    assert (about["images"], about["embedding"]) == (61, 16)
    assert about["columns"]["label"] == {"type": "String", "values": 2, "empty": 0}
    # Sixty rows have a mask of their own, the copied one has none: an empty cell is no value.
    assert about["columns"]["mask"] == {"type": "String", "values": 60, "empty": 1}
    assert about["versions"][-1]["images"] == 61


def test_rows_are_removed_and_a_former_version_comes_back(gallery, made, capsys):
    before = json.loads(ran(capsys, gallery, "--json")[1])["version"]
    some = [made / "images" / f"{k}-0.png" for k in range(3)]
    code, out, err = ran(capsys, gallery, "--remove", *some, "--remove_where", "camera = 'c1'")
    assert (code, err) == (0, "33 rows removed, 28 left\n")
    assert "28 images" in out
    code, out, _ = ran(capsys, gallery, "--restore", before)
    assert (code, "61 images" in out) == (0, True)
    code, _, err = ran(capsys, gallery, "--restore", 999)
    assert (code, err.count("\n")) == (2, 1)
    assert "has no version 999" in err
    code, _, err = ran(capsys, gallery, "--remove", "nothing.png")
    assert (code, "holds no image nothing.png" in err) == (2, True)


def test_a_damaged_record_of_a_former_version_is_told_and_the_latest_one_is_shown(gallery, capsys):
    oldest = max((gallery / "items.lance" / "_versions").glob("*.manifest"))  # named by what is left to count
    oldest.write_bytes(oldest.read_bytes()[:100])
    code, out, err = ran(capsys, gallery)
    assert (code, err) == (0, "")
    assert "61 images" in out
    assert "no versions to go back to: " in out
    assert "is damaged" in out


def test_near_duplicates_are_groups_and_a_page(gallery, made, capsys, tmp_path):
    code, out, err = ran(capsys, gallery, "--duplicates", "1e-9", "--html", tmp_path / "d.html")
    assert code == 0
    assert out.splitlines() == [
        str(made / "images" / "2-1.png"),
        f"  1  1.0000  odd  id9  {made / 'images' / 'copy.png'}",
    ]
    assert "2 of 61 images are in 1 group within a distance of 1e-09" in err
    page = (tmp_path / "d.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 2
    assert "2 of 61 images are in 1 group within a distance of 1e-09" in page
    found = json.loads(ran(capsys, gallery, "--duplicates", "1e-9", "--json")[1])
    assert [len(each["hits"]) for each in found] == [1]
    code, _, err = ran(capsys, gallery, "--html", tmp_path / "e.html")
    assert (code, "--duplicates" in err) == (2, True)


@pytest.mark.parametrize("what", [("--remove", "images"), ("--remove_where", "camera = 'c1'")])
def test_rows_are_not_removed_beyond_a_condition_that_stands_beside(gallery, made, capsys, what):
    before = json.loads(ran(capsys, gallery, "--json")[1])["version"]
    named = made / "images" if what[1] == "images" else what[1]
    code, _, err = ran(capsys, gallery, "--where", "label = 'odd'", what[0], named)
    assert (code, err.count("\n"), "--remove_where" in err) == (2, 1, True)
    assert json.loads(ran(capsys, gallery, "--json")[1])["version"] == before


def test_near_duplicates_are_looked_for_among_the_rows_that_meet_a_condition(gallery, made, capsys):
    code, out, err = ran(capsys, gallery, "--duplicates", "1e-9", "--where", "label = 'even'")
    assert (code, out) == (0, "")
    assert err.endswith("0 of 30 images that meet \"label = 'even'\" are in 0 groups within a distance of 1e-09\n")
    where = "label = 'odd' or image like '%/2-1.png'"  # the copy is odd, and what it is a copy of is not
    out = ran(capsys, gallery, "--duplicates", "1e-9", "--where", where, "--json")[1]
    (found,) = json.loads(out)
    rows = {each["row"] for each in found["hits"]}
    assert rows == {60}  # as in the whole gallery, to which the copy was put last
