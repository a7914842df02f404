"""Files written whole or not at all, and typed records: written as JSON, and read back or refused in one line."""

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from triune.checksums import check_file
from triune.errors import InputError
from triune.signals import held_back, raising


class Record(BaseModel):
    """Values that are set once; a field that is not known, or of another type, is refused.

    Numbers that are not finite are written as ``"Infinity"``, ``"-Infinity"`` and ``"NaN"``, and read back as numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


R = TypeVar("R", bound=Record)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` to write to; move it onto ``path`` if the block ends well, else remove it.

    A reader, another process or a crash therefore sees the old file or the new one, never half of one. A signal that
    asks the program to end waits until the file is whole.

    Raises:
        OSError: it cannot be written (disk full, no permission): the error names ``path``, whatever the serialiser
            made of it.
    """
    with held_back(), folder_made(path.parent), _named(path) as said:
        remove_leftovers(path.parent, path.name)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        temporary = said.temporary = Path(name)
        try:
            _hold(handle)
            yield temporary
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            # mkstemp makes files private to the user; a result should have the rights of any new file.
            temporary.chmod(0o666 & ~_mask())
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        finally:
            os.close(handle)


def remove_leftovers(folder: Path, name: str | None = None, *, all_ages: bool = False) -> None:
    """Remove what a killed process left in a folder: temporary files and folders that no process holds.

    Args:
        folder: where.
        name: of the file that they were to become; ``None`` for any.
        all_ages: the young ones too, which another process may have made this moment: for who has the folder's lock.
    """
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        found = _TEMPORARY.fullmatch(entry.name)
        if found is None or name not in (None, found["name"]):
            continue
        with contextlib.suppress(OSError):
            if not all_ages and time.time() - entry.stat(follow_symlinks=False).st_mtime < _YOUNG:
                continue
            handle = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if _hold(handle):
                    _remove(Path(entry.path))
            finally:
                os.close(handle)


_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[a-z0-9_]{8}(\.[^.]*)?")
"""What :func:`tempfile.mkstemp` and :func:`tempfile.mkdtemp` make of a name."""

_YOUNG = 60.0
"""Seconds in which a process that made a temporary file surely holds it."""


def _hold(handle: int) -> bool:
    """Lock an open file or folder until it is closed; whether it could be had. A killed process holds nothing."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another holds it; or the file system knows no locks, and then nothing is removed
        return False
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink()


@contextmanager
def folder_made(folder: Path) -> Iterator[None]:
    """A folder and those on the way to it; where the block fails, those that were made for it and are empty go."""
    lacking = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for each in lacking:
            with contextlib.suppress(OSError):  # one that is not empty stays
                each.rmdir()
        raise


class _Naming:
    """Where a file, or a folder of files, is written before it is whole."""

    temporary: Path | None = None


@contextmanager
def _named(path: Path) -> Iterator[_Naming]:
    """What the disk refuses within the block is an OSError that names ``path``."""
    naming = _Naming()
    try:
        yield naming
    except InputError:
        raise
    except Exception as error:
        refused = _of_the_disk(error)
        if refused is None:
            raise
        number, reason, filename = refused
        if filename is None or naming.temporary in (None, Path(filename), *Path(filename).parents):
            raise OSError(number, reason, str(path)) from error
        raise


def _of_the_disk(error: BaseException | None) -> tuple[int, str, str | None] | None:
    """Number, words and file of what the system refused, which a serialiser may have wrapped; ``None`` if it did not.

    Serialisers that are compiled pass on the words alone.
    """
    said = ""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno, error.strerror or str(error), error.filename
        said += f" {error}"
        error = error.__cause__ or error.__context__
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO):
        if os.strerror(number) in said:
            return number, os.strerror(number), None
    return None


@contextmanager
def filled_together(folder: Path, *, numbered: bool = False) -> Iterator[tuple[Path, Callable[[], Path]]]:
    """Give a temporary folder to fill, and what moves it into place when it is full: its files appear together.

    What is not moved into place is removed.

    Args:
        folder: where the files shall lie. Files of the same names that lie there already are replaced, all others kept.
        numbered: let them lie in ``folder-K`` with the lowest K that is free.

    Returns:
        The temporary folder, and a function that moves it and returns where the files lie.

    Raises:
        InputError: ``folder`` is a run or lies in one, whose files only its training writes.
        OSError: no folder can be made there, or a file of it not be written; the error names ``folder``.
    """
    place = folder.absolute()
    if not numbered and any((each / "config.yaml").exists() for each in (place, place.parent)):
        raise InputError(f"{folder} lies in a run, whose files are kept: choose another folder with --output")
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    with raising(), folder_made(folder.parent):
        remove_leftovers(folder.parent, folder.name)
        with _named(folder):
            temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        handle = os.open(temporary, os.O_RDONLY)
        _hold(handle)

        def move() -> Path:
            temporary.chmod(0o777 & ~_mask())
            with held_back(), _named(folder):
                return _numbered(temporary, folder) if numbered else _moved(temporary, folder)

        try:
            with _named(folder) as naming:
                naming.temporary = temporary
                yield temporary, move
        finally:
            with held_back():
                shutil.rmtree(temporary, ignore_errors=True)
                os.close(handle)


def _numbered(temporary: Path, folder: Path) -> Path:
    """A folder moved to ``folder-K`` with the lowest K that is free."""
    number = 1
    while True:
        target = folder.with_name(f"{folder.name}-{number}")
        try:
            if not target.exists():
                return temporary.rename(target)
        except OSError as error:  # another process took the place in between
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        number += 1


def _moved(temporary: Path, folder: Path) -> Path:
    """The content of one folder moved into another, or in its place where there is none."""
    if not folder.exists():
        return temporary.rename(folder)
    for each in sorted(temporary.rglob("*")):
        target = folder / each.relative_to(temporary)
        if each.is_dir():
            target.mkdir(exist_ok=True)
        else:
            each.replace(target)
    return folder


def _mask() -> int:
    """The rights that new files of this process do not have."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


_ENVIRONMENT = {
    *(errno.EACCES, errno.EPERM, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE),
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE),
}
"""What is wrong with the machine, not with what was asked for: the command line exits 1 for it, not 2."""


def regular_file(path: str | Path) -> Path:
    """A path where a file lies that can be read to its end; a pipe, which may wait for ever, is none.

    Raises:
        InputError: nothing lies there, or a folder, a pipe or a device; or no file can have such a path.
        OSError: the machine forbids or fails to look there.
    """
    try:
        mode = os.stat(path).st_mode
    except ValueError as error:
        raise InputError(f"{str(path)!r} is no path: {error}") from error
    except OSError as error:
        if error.errno in _ENVIRONMENT:
            raise
        reason = (
            "does not exist" if error.errno in (errno.ENOENT, errno.ENOTDIR) else f"cannot be read: {error.strerror}"
        )
        raise InputError(f"{path} {reason}") from error
    if not stat.S_ISREG(mode):
        kind = (
            "it is a folder" if stat.S_ISDIR(mode) else "it is a pipe or a device; save what comes out of it as a file"
        )
        raise InputError(f"{path} cannot be read: {kind}")
    return Path(path)


MOST_SHOWN = 2000
"""Characters of a line of a message: a cell, a name or a path may have any number."""


def on_one_line(text: str) -> str:
    """A text of any characters as one line that a terminal shows as it is.

    Characters that a terminal acts on (line breaks, escapes, zero bytes) are written as Python writes them, and the
    middle of what is too long is left out.
    """
    shown = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
    half = MOST_SHOWN // 2
    return shown if len(shown) <= MOST_SHOWN else f"{shown[:half]} … {shown[-half:]}"


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text to ``path``, whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_record(path: Path, record: Record) -> None:
    """Write a record as indented JSON to ``path``, whole or not at all."""
    write_text(path, record.model_dump_json(indent=1) + "\n")


def read_record(path: Path, kind: type[R], migrate: Callable[[Any], Any] = lambda stored: stored) -> R:
    """Read what :func:`write_record` wrote.

    Args:
        path: the file.
        kind: what it holds.
        migrate: brings what an earlier version wrote (parsed JSON) into today's form; gives anything else back as it
            is. A KeyError, TypeError, ValueError or AttributeError of it says that the file is damaged.

    Raises:
        InputError: it is missing, damaged or another file; one line that names the file and the field.
    """
    if not path.parent.is_dir():
        raise InputError(f"{path.parent} does not exist, or is no folder: name one that triune wrote")
    check_file(path)
    try:
        text = regular_file(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is damaged or another file: it is no UTF-8 text") from error
    return parse_record(text, kind, str(path), migrate)


def parse_record(text: str, kind: type[R], source: str, migrate: Callable[[Any], Any] = lambda stored: stored) -> R:
    """The record that a JSON text holds.

    Args:
        text: JSON.
        kind: what it holds.
        source: what messages call it.
        migrate: as in :func:`read_record`.

    Raises:
        InputError: it holds something else; one line that names the source and the field.
    """
    try:
        stored = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source} is damaged or another file: no JSON ({error})") from error
    try:
        return kind.model_validate(migrate(stored))
    except ValidationError as error:
        raise InputError(f"{source}{_first_problem(error)}") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{source} is damaged or another file: {type(error).__name__} {error}") from error


def _first_problem(error: ValidationError) -> str:
    """The first of pydantic's complaints on one line, with its field."""
    problem = error.errors(include_url=False)[0]
    # Where a field may be one of several records, pydantic puts the record's name into the path.
    kinds = {kind.__name__ for kind in _kinds(Record)}
    field = ".".join(str(part) for part in problem["loc"] if part not in kinds)
    said = " ".join(problem["msg"].split())
    return f"{f', field {field}' if field else ' is damaged or another file'}: {said}"


def _kinds(kind: type[Record]) -> Iterator[type[Record]]:
    for each in kind.__subclasses__():
        yield each
        yield from _kinds(each)
