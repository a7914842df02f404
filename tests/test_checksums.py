"""A changed byte of a listed file is seen, and which file it is in is said."""

import json

import pytest

from triune.checksums import NAME, check_file, digest, read_checksums
from triune.errors import InputError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.bin").write_bytes(bytes(range(256)))
    files = {"a.bin": digest(tmp_path / "a.bin"), "old.json": None, "gone": "00"}
    (tmp_path / NAME).write_text(json.dumps({"format": 1, "files": files}))
    (tmp_path / "old.json").write_text("{}")
    return tmp_path


def test_the_digest_is_blake2b_of_the_bytes(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    assert digest(tmp_path / "empty") == "cae66941d9efbd404e4d88758ea67670"  # b2sum --length 128 /dev/null


def test_a_whole_file_passes_and_so_does_one_that_is_not_listed(folder):
    check_file(folder / "a.bin")
    (folder / "other").write_text("x")
    check_file(folder / "other")
    check_file(folder / "gone")  # its reader says that it is not there


@pytest.mark.parametrize("place", [0, 100, 255])
def test_one_flipped_bit_is_seen(folder, place):
    content = bytearray((folder / "a.bin").read_bytes())
    content[place] ^= 1
    (folder / "a.bin").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.bin is damaged or of another run") as refused:
        check_file(folder / "a.bin")
    assert "\n" not in str(refused.value)


def test_a_file_of_an_earlier_state_is_refused(folder):
    with pytest.raises(InputError, match=r"old\.json belongs to the network before its training went on"):
        check_file(folder / "old.json")


def test_a_folder_without_a_list_checks_nothing(tmp_path):
    (tmp_path / "a").write_text("x")
    check_file(tmp_path / "a")
    assert read_checksums(tmp_path) == {}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"files": []}', '{"files": {"a": 1}}', "[" * 100_000, "\udcff"])
def test_a_damaged_list_is_named(folder, text):
    (folder / NAME).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=r"checksums\.json is damaged or another file"):
        check_file(folder / "a.bin")
