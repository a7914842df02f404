"""A changed byte of a listed file is seen, and which file it is in is said."""

import json

import pytest

from triune.checksums import NAME, SEALED, check_file, digest, is_kept, read_checksums
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
    assert check_file(folder / "a.bin")
    (folder / "other").write_text("x")
    assert not check_file(folder / "other")
    assert not check_file(folder / "gone")  # its reader says that it is not there


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


def test_a_list_that_is_gone_is_missed_where_the_settings_speak_of_it(folder):
    (folder / NAME).unlink()
    (folder / "config.yaml").write_text("data: x\n")  # as version 0.1.0 wrote it
    assert read_checksums(folder) == {}
    assert not is_kept(folder / "gone")
    (folder / "config.yaml").write_text(f"data: x\n  {SEALED}\n")
    for read in (lambda: read_checksums(folder), lambda: check_file(folder / "a.bin"), lambda: is_kept(folder / "no")):
        with pytest.raises(InputError, match=r"checksums\.json is gone.* copy the whole run again") as refused:
            read()
        assert "\n" not in str(refused.value)


def test_a_listed_file_that_is_gone_is_missed_by_its_name(folder):
    assert is_kept(folder / "a.bin")
    assert not is_kept(folder / "never listed")
    with pytest.raises(InputError, match=r"gone is gone, though checksums\.json lists it: copy the whole run again"):
        is_kept(folder / "gone")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"files": []}', '{"files": {"a": 1}}', "[" * 100_000, "\udcff"])
def test_a_damaged_list_is_named(folder, text):
    (folder / NAME).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=r"checksums\.json is damaged or another file"):
        check_file(folder / "a.bin")
