"""Layouts and archives of published data sets."""

import io
import tarfile
import zipfile
from pathlib import Path

import polars as pl
import pytest

from made_items import frame_of, picture
from triune.data.sources.published import Layout, Line, Part, listed, whole, within, without_lone
from triune.errors import InputError

LAYOUT = Layout(
    "made",
    "the made set",
    {"list": Part(("list.txt",), ("made.tgz", "made.zip")), "folder": Part(("img/", "Img/img/"), ("img.zip",))},
)


def fill(base):
    (base / "img").mkdir(parents=True)
    (base / "img" / "a.txt").write_text("a")
    (base / "list.txt").write_text("a")
    return base


@pytest.mark.parametrize("below", [".", "set", "download/set"])
def test_parts_are_found_in_the_root_and_up_to_two_folders_below(tmp_path, below):
    base = fill(tmp_path / below)
    assert LAYOUT.found(tmp_path, tmp_path / "cache") == {"list": base / "list.txt", "folder": base / "img"}
    assert not (tmp_path / "cache").exists()


def test_parts_may_come_from_several_archives_and_from_files_beside_them(tmp_path):
    (tmp_path / "root").mkdir()
    with zipfile.ZipFile(tmp_path / "root" / "img.zip", "w") as packed:
        packed.writestr("img/a.txt", "a")
        packed.writestr("__MACOSX/img/._a.txt", "")
    (tmp_path / "root" / "list.txt").write_text("a")
    found = LAYOUT.found(tmp_path / "root", tmp_path / "cache")
    assert found["list"] == tmp_path / "root" / "list.txt"
    assert (found["folder"] / "a.txt").read_text() == "a"
    assert found["folder"].is_relative_to(tmp_path / "cache")


def test_an_archive_that_is_replaced_is_unpacked_anew(tmp_path):
    for text in ("old", "newer"):
        fill(tmp_path / text / "set")
        (tmp_path / text / "set" / "list.txt").write_text(text)
        with tarfile.open(tmp_path / "made.tgz", "w:gz") as packed:
            packed.add(tmp_path / text / "set", arcname="set")
        found = LAYOUT.found(tmp_path / "made.tgz", tmp_path / "cache")
        assert found["list"].read_text() == text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, r"root holds no list\.txt \(nor the archive made\.tgz or made\.zip\), but it holds nothing: --root "
             r"names the folder with the made set as it is published: list\.txt, img/, unpacked or as made\.tgz"),
        ({"list.txt": "a"}, r"holds no img/ \(nor the archive img\.zip\), but it holds list\.txt:"),
        ({f"{i}.jpg": "" for i in range(9)}, r"it holds 0\.jpg, 1\.jpg, 2\.jpg, 3\.jpg, 4\.jpg and 4 more:"),
        ({"list.txt": "a", "img": "no folder"}, r"img is a file, and should be a folder"),
        ({"list.txt": "a", "img.zip": "no archive"}, r"img\.zip cannot be read \(.*\): copy or download it again"),
        ({"made.tgz": ""}, r"made\.tgz cannot be read"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_told_in_one_line_with_what_is(tmp_path, content, said):
    (tmp_path / "root").mkdir()
    for name, text in content.items():
        (tmp_path / "root" / name).write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        LAYOUT.found(tmp_path / "root", tmp_path / "cache")
    assert "\n" not in str(caught.value)


def test_a_root_that_is_not_there_is_told(tmp_path):
    with pytest.raises(InputError, match=r"nowhere does not exist: --root names the folder with the made set"):
        LAYOUT.found(tmp_path / "nowhere", tmp_path / "cache")
    path = tmp_path / "file.tgz"
    path.write_bytes(b"\x1f\x8b\x08\x00damaged")
    with pytest.raises(InputError, match=r"cannot be read"):
        LAYOUT.found(path, tmp_path / "cache")


@pytest.mark.parametrize("name", ["../outside.txt", "/outside.txt"])
def test_no_archive_writes_outside_its_folder(tmp_path, name):
    for kind in ("made.tgz", "made.zip"):
        root = tmp_path / kind[-3:]
        root.mkdir()
        if kind == "made.zip":
            with zipfile.ZipFile(root / kind, "w") as packed:
                packed.writestr(name, "x")
        else:
            with tarfile.open(root / kind, "w:gz") as packed:
                facts = tarfile.TarInfo(name)
                facts.size = 1
                packed.addfile(facts, io.BytesIO(b"x"))
                link = tarfile.TarInfo("link")
                link.type, link.linkname = tarfile.SYMTYPE, "../../.."
                packed.addfile(link)
        with pytest.raises(InputError, match="points outside"):
            LAYOUT.found(root, tmp_path / "cache")
    assert not list(tmp_path.rglob("outside.txt"))
    assert not any(part.name.startswith("made-1") for part in (tmp_path / "cache").iterdir())


def test_a_truncated_archive_leaves_nothing_behind(tmp_path):
    fill(tmp_path / "set")
    (tmp_path / "set" / "list.txt").write_bytes(bytes(i * i % 251 for i in range(20_000)))
    for kind in ("made.tgz", "made.zip"):
        if kind == "made.zip":
            with zipfile.ZipFile(tmp_path / kind, "w", zipfile.ZIP_DEFLATED) as packed:
                packed.write(tmp_path / "set" / "list.txt", "list.txt")
        else:
            with tarfile.open(tmp_path / kind, "w:gz") as packed:
                packed.add(tmp_path / "set", arcname="set")
        content = (tmp_path / kind).read_bytes()
        (tmp_path / kind).write_bytes(content[: len(content) // 2])
        with pytest.raises(InputError, match="cannot be read"):
            LAYOUT.found(tmp_path / kind, tmp_path / "cache")
        assert list((tmp_path / "cache").iterdir()) == []


def test_an_encrypted_archive_says_so(tmp_path):
    path = tmp_path / "made.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("list.txt", "a")
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\x01\x02")
    content[place + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="is encrypted: unpack it with the password"):
        LAYOUT.found(path, tmp_path / "cache")


def test_lists_are_read_by_words_and_by_lines(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes("\ufeffheader\r\n1 a b\r\n\r\n2 c d e\r\n".encode())
    assert listed(path, 2, skipped=1) == [Line(2, ["1", "a b"]), Line(4, ["2", "c d e"])]
    assert whole(path, Line(4, ["12", "x"]), 0) == 12
    for wrong in ("-1", "1.0", "x", "٣", "9" * 20):
        with pytest.raises(InputError, match=r"list\.txt, row 4: .* is no whole number"):
            whole(path, Line(4, [wrong]), 0)


def test_boxes_end_where_their_images_do_and_others_are_left_to_the_check_of_the_table(tmp_path):
    picture(tmp_path / "a.png", size=(8, 10))  # 10 wide, 8 high
    (tmp_path / "b.png").write_text("no image")
    boxes = [(1, 2, 11, 9), (1, 2, 3, 4), (12, 2, 14, 4), (1, 2, 99, 99), (1, 2, 99, 99)]
    images = [tmp_path / f"{name}.png" for name in "aaabc"]
    assert within(boxes, images) == [(1, 2, 10, 8), *boxes[1:]]


def test_a_folder_beside_the_data_that_may_not_be_read_is_passed_over(tmp_path, monkeypatch):
    fill(tmp_path / "set")
    (tmp_path / "lost+found").mkdir()
    listing = Path.iterdir

    def refused(folder):
        if folder.name == "lost+found":
            raise PermissionError(13, "Permission denied", str(folder))
        return listing(folder)

    monkeypatch.setattr(Path, "iterdir", refused)
    assert LAYOUT.found(tmp_path, tmp_path / "cache")["list"] == tmp_path / "set" / "list.txt"


def test_only_lone_training_images_are_left_out():
    splits = ["train", "train", "train", "test", "test", "train"]
    table = frame_of(["a", "a", "b", "b", "c", None], split=splits)
    kept = without_lone(table)
    assert kept.frame["image"].str.slice(-5).to_list() == ["0.png", "1.png", "3.png", "4.png", "5.png"]
    assert kept.notes == (*table.notes, "made: left out for their single training image: 1 identity")
    sound = frame_of(["a", "a"], split=["train", "train"])
    assert without_lone(sound) is sound
    assert kept.frame.schema["split"] == pl.String


def test_a_file_that_is_no_archive_is_not_taken_for_one(tmp_path):
    fill(tmp_path)
    with pytest.raises(InputError, match=r"list\.txt is neither a folder nor an archive: --root names the folder"):
        LAYOUT.found(tmp_path / "list.txt", tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_folder_in_place_of_a_file_is_named(tmp_path):
    fill(tmp_path)
    (tmp_path / "list.txt").unlink()
    (tmp_path / "list.txt").mkdir()
    with pytest.raises(InputError, match=r"list\.txt is a folder, and should be a file: copy or unpack it again"):
        LAYOUT.found(tmp_path, tmp_path / "cache")


def test_why_an_archive_cannot_be_read_is_said_once(tmp_path):
    path = tmp_path / "made.tgz"
    path.write_text("no archive at all")
    with pytest.raises(InputError, match=r"made\.tgz cannot be read \(file could not be opened successfully\): copy"):
        LAYOUT.found(path, tmp_path / "cache")


def test_a_list_that_is_no_text_is_copied_again(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"list\.txt is not UTF-8 text: copy the file again"):
        listed(path, 2)
