import errno
import math
import os
import signal
import stat
import subprocess
import sys
import time

import pytest
from pydantic import Field

from triune.errors import InputError
from triune.files import (
    MOST_SHOWN,
    Record,
    filled_together,
    on_one_line,
    read_record,
    regular_file,
    remove_leftovers,
    write_record,
    write_text,
    written_whole,
)


def test_a_failed_write_leaves_the_old_file_and_no_remains(tmp_path):
    target = tmp_path / "a.txt"
    write_text(target, "old")

    def fail(path):
        with written_whole(path) as temporary:
            temporary.write_text("half of the new")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError):
        fail(target)
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_written_file_has_the_rights_of_any_new_file(tmp_path):
    write_text(tmp_path / "ours", "x")
    (tmp_path / "plain").write_text("x")
    rights = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ours", "plain")]
    assert rights[0] == rights[1]


def test_folders_on_the_way_are_made(tmp_path):
    write_text(tmp_path / "deep" / "er" / "a.txt", "x")
    assert (tmp_path / "deep" / "er" / "a.txt").read_text() == "x"


class Leaf(Record):
    share: float
    names: list[str] = Field(default_factory=list)


class Other(Record):
    reason: str


class Tree(Record):
    leaves: dict[str, Leaf | Other]
    count: int = 0


def test_a_record_is_read_back_as_it_was_written_also_where_numbers_are_not_finite(tmp_path):
    leaves = {"a": Leaf(share=math.inf, names=["x"]), "b": Leaf(share=-math.inf), "c": Other(reason="none")}
    write_record(tmp_path / "t.json", Tree(leaves=leaves, count=3))
    assert read_record(tmp_path / "t.json", Tree) == Tree(leaves=leaves, count=3)
    assert '"Infinity"' in (tmp_path / "t.json").read_text()
    write_record(tmp_path / "n.json", Leaf(share=math.nan))
    assert math.isnan(read_record(tmp_path / "n.json", Leaf).share)
    assert "null" not in (tmp_path / "n.json").read_text()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"leaves": {"a": {"share": "x"}}}', "t.json, field leaves.a.share: Input should be a valid number"),
        ('{"leaves": {"a": {"share": 1, "size": 2}}}', "t.json, field leaves.a.size: Extra inputs are not permitted"),
        ('{"count": 1}', "t.json, field leaves: Field required"),
        ("[1]", "t.json is damaged or another file"),
        ("{", "t.json is damaged or another file: no JSON"),
        (b"\xff\xfe", "t.json is damaged or another file: it is no UTF-8 text"),
        ("[" * 100_000, "t.json is damaged or another file: no JSON"),
        ('{"leaves": ' + "9" * 5000 + "}", "t.json is damaged or another file: no JSON"),
        (None, "t.json does not exist"),
    ],
)
def test_a_damaged_or_foreign_file_is_one_line_that_names_file_and_field(tmp_path, text, says):
    path = tmp_path / "t.json"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as raised:
        read_record(path, Tree)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_an_earlier_version_wrote_is_migrated_and_damage_in_it_is_named(tmp_path):
    path = tmp_path / "t.json"
    path.write_text('{"old": {"share": 1}}')

    def migrate(stored):
        return {"leaves": {"a": stored["old"]}} if "leaves" not in stored else stored

    assert read_record(path, Tree, migrate) == Tree(leaves={"a": Leaf(share=1)})
    path.write_text('{"older": 1}')
    with pytest.raises(InputError, match=r"t\.json is damaged or another file: KeyError 'old'"):
        read_record(path, Tree, migrate)


def test_a_record_is_set_once():
    with pytest.raises(ValueError, match="frozen"):
        Leaf(share=1).share = 2


def write_together(folder, write, *, numbered=False):
    with filled_together(folder, numbered=numbered) as (temporary, move):
        result = write(temporary)
        return move(), result


def fill(folder):
    (folder / "a.json").write_text("new")
    (folder / "masks").mkdir()
    (folder / "masks" / "1.png").write_text("new")
    return 7


def test_files_appear_together_in_a_folder_that_was_not_there(tmp_path):
    assert write_together(tmp_path / "deep" / "out", fill) == (tmp_path / "deep" / "out", 7)
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"out"}


def test_files_replace_those_of_the_same_names_and_leave_the_others(tmp_path):
    for name in ("a.json", "kept.txt", "masks/0.png"):
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_text("old")
    write_together(tmp_path / "out", fill)
    found = {str(path.relative_to(tmp_path / "out")): path.read_text() for path in (tmp_path / "out").rglob("*.*")}
    assert found == {"a.json": "new", "kept.txt": "old", "masks/0.png": "old", "masks/1.png": "new"}


def test_numbered_folders_take_the_lowest_free_number(tmp_path):
    (tmp_path / "out-2").mkdir()
    names = [write_together(tmp_path / "out", fill, numbered=True)[0].name for _ in range(3)]
    assert names == ["out-1", "out-3", "out-4"]


@pytest.mark.parametrize("numbered", [False, True])
def test_what_is_stopped_in_the_middle_leaves_nothing(tmp_path, numbered):
    def stop(folder):
        fill(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_together(tmp_path / "out", stop, numbered=numbered)
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_not_written_over(tmp_path):
    (tmp_path / "config.yaml").write_text("")
    for folder in (tmp_path, tmp_path / "masks"):
        with pytest.raises(InputError, match="lies in a run, whose files are kept"):
            write_together(folder, fill)
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_a_file_where_the_folder_should_lie_is_named_before_any_work(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(NotADirectoryError) as refused:
        write_together(tmp_path / "out", fill)
    assert refused.value.filename == str(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_what_is_missing_with_its_folder_is_named_by_the_folder(tmp_path):
    with pytest.raises(InputError, match="none does not exist, or is no folder: name one that triune wrote"):
        read_record(tmp_path / "none" / "t.json", Tree)


def test_a_file_is_regular_or_told_in_a_line(tmp_path):
    path = tmp_path / "a"
    path.write_text("")
    assert regular_file(str(path)) == path
    os.mkfifo(tmp_path / "pipe")
    for name, says in (("pipe", "pipe"), (".", "folder"), ("b", "does not exist"), ("a/b", "does not exist")):
        with pytest.raises(InputError, match=says):
            regular_file(tmp_path / name)
    for name, says in (("a\0b", "is no path"), ("a" * 5000, "cannot be read")):
        with pytest.raises(InputError, match=says):
            regular_file(name)


def test_what_the_machine_forbids_is_no_bad_input(tmp_path, monkeypatch):
    def stat(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "stat", stat)
    with pytest.raises(PermissionError):
        regular_file(tmp_path)


def test_any_text_is_one_line_that_a_terminal_shows_as_it_is():
    assert on_one_line("Zoë's 写真 – a b") == "Zoë's 写真 – a b"
    assert on_one_line("a\nb\x1b[2J\0\u202e\u2028c\udcff") == "a\\nb\\x1b[2J\\x00\\u202e\\u2028c\\udcff"
    assert len(on_one_line("x" * 10**6)) < MOST_SHOWN + 10
    assert on_one_line("a" + "x" * 10**6 + "b")[:: MOST_SHOWN + 2] == "ab"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("I/O error: No space left on device (os error 28)"),  # of a compiled serialiser
        OSError(errno.ENOSPC, "No space left on device", "TEMPORARY"),
    ],
)
def test_what_the_disk_refuses_names_the_file_whatever_the_serialiser_says(tmp_path, error):
    def write():
        with written_whole(tmp_path / "new" / "a.bin") as place:
            if getattr(error, "filename", None):
                error.filename = str(place)
            raise error

    with pytest.raises(OSError, match="No space left") as refused:
        write()
    assert (refused.value.errno, refused.value.filename) == (errno.ENOSPC, str(tmp_path / "new" / "a.bin"))
    assert os.listdir(tmp_path) == []  # the folder that was made for it is gone, too


def test_an_error_of_a_serialiser_that_swallowed_the_disk_s_names_the_file(tmp_path):
    def write():
        with written_whole(tmp_path / "a.bin"):
            try:
                raise OSError(errno.ENOSPC, "No space left on device")
            except OSError:
                raise RuntimeError("write failed at 4096")  # as such libraries do

    with pytest.raises(OSError, match="No space left") as refused:
        write()
    assert refused.value.filename == str(tmp_path / "a.bin")


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(ZeroDivisionError), written_whole(tmp_path / "a.bin"):
        1 / 0
    with pytest.raises(FileNotFoundError) as missing, written_whole(tmp_path / "a.bin"):
        (tmp_path / "other").read_bytes()
    assert missing.value.filename == str(tmp_path / "other")


KILLED = """
import os, signal, sys
from pathlib import Path
from triune.files import filled_together, written_whole
folder = Path(sys.argv[1])
with written_whole(folder / "a.bin") as one, filled_together(folder / "out", numbered=True) as (two, _):
    one.write_text("half")
    (two / "b.bin").write_text("half")
    if sys.argv[2] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    print(flush=True)
    sys.stdin.read()
"""


def writing(folder, manner):
    arguments = [sys.executable, "-c", KILLED, str(folder), manner]
    return subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def age(folder):
    old = time.time() - 3600
    for path in folder.iterdir():
        os.utime(path, (old, old))


def test_what_a_killed_process_left_is_cleared_by_the_next_write_and_a_living_one_s_is_not(tmp_path):
    assert writing(tmp_path, "die").wait() == -signal.SIGKILL
    assert len(os.listdir(tmp_path)) == 2
    living = writing(tmp_path, "live")
    living.stdout.readline()
    mine = tmp_path / ".a.bin.notes.bin"  # a user's, though it begins alike
    mine.write_text("mine")
    age(tmp_path)
    write_text(tmp_path / "a.bin", "whole")
    write_together(tmp_path / "out", fill, numbered=True)
    assert len([name for name in os.listdir(tmp_path) if name.startswith(".")]) == 3  # two of the living process
    living.communicate(b"")
    assert sorted(os.listdir(tmp_path)) == [mine.name, "a.bin", "out-1"]


def test_young_leftovers_go_where_the_folder_is_locked(tmp_path):
    writing(tmp_path, "die").wait()
    remove_leftovers(tmp_path)
    assert len(os.listdir(tmp_path)) == 2
    remove_leftovers(tmp_path, all_ages=True)
    assert os.listdir(tmp_path) == []
    remove_leftovers(tmp_path / "none")  # nothing to do


@pytest.mark.parametrize("before", ["", "deep"])
def test_a_failure_leaves_no_folder_that_was_made_for_its_output(tmp_path, before):
    (tmp_path / before).mkdir(exist_ok=True)
    with pytest.raises(RuntimeError), filled_together(tmp_path / "deep" / "a" / "b"):
        raise RuntimeError
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ([before] if before else [])


def test_a_flipped_byte_of_a_listed_record_is_named(tmp_path):
    from triune.run.folder import seal

    write_record(tmp_path / "l.json", Leaf(share=0.25))
    seal(tmp_path, ["l.json"])
    assert read_record(tmp_path / "l.json", Leaf).share == 0.25
    (tmp_path / "l.json").write_text((tmp_path / "l.json").read_text().replace("0.25", "0.35"))
    with pytest.raises(InputError, match=r"l\.json is damaged or of another run"):
        read_record(tmp_path / "l.json", Leaf)


@pytest.mark.parametrize("named", [True, False])
def test_a_disk_that_takes_no_more_is_told_by_the_folder_and_not_by_the_temporary_one(tmp_path, named):
    with pytest.raises(OSError, match="No space left") as caught, filled_together(tmp_path / "out") as (temporary, _):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *([str(temporary / "a.csv")] if named else []))
    assert caught.value.filename == str(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read_meanwhile_keeps_its_own_name(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, filled_together(tmp_path / "out"):
        (tmp_path / "gone.png").read_bytes()
    assert caught.value.filename == str(tmp_path / "gone.png")
