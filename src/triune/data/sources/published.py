"""Published data sets found in the layout of their authors: unpacked, or in the archives that they come in."""

import contextlib
import hashlib
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeAlias

import polars as pl
from PIL import Image

from triune.data.items import ItemTable
from triune.data.problems import DataError, Problem
from triune.data.sources.common import written_once
from triune.data.tables import read_text, split_lines
from triune.errors import InputError
from triune.files import on_one_line
from triune.plurals import plural

Box: TypeAlias = tuple[int, int, int, int]


SHOWN = 5
"""So many names a message lists of what lies in a folder."""


class Part(NamedTuple):
    """A file or folder of a data set.

    Args:
        names: where it lies below the data set's folder, the usual place first; a folder ends in ``/``.
        archives: names of the archives that hold it.
        needed: whether nothing can be done without it.
    """

    names: tuple[str, ...]
    archives: tuple[str, ...] = ()
    needed: bool = True


@dataclass(frozen=True)
class Layout:
    """How a data set is published.

    Args:
        name: what it is called by here.
        title: what its authors call it, and where that is said.
        parts: its files and folders, by a word for each.
    """

    name: str
    title: str
    parts: dict[str, Part]

    def found(self, root: Path, cache: Path) -> dict[str, Path]:
        """Where each part lies: in the root, in a folder in it, or in an archive there, which is then unpacked once.

        Args:
            root: the folder of what was downloaded, the data set's own folder, one of its parts, or the archive itself.
            cache: where archives are unpacked.

        Returns:
            The paths of the parts that are there: of all that are needed.

        Raises:
            InputError: a needed part is not there, or an archive cannot be read; the message says what is expected. Or
                a file lies where a folder is meant, or the reverse, also of a part that is not needed.
        """
        if not root.exists():
            raise InputError(f"{root} does not exist: {self._wanted()}")
        if root.is_file() and not _is_archive(root):
            raise InputError(f"{root} is neither a folder nor an archive: {self._wanted()}")
        places = _with_folders(root) if root.is_dir() else []
        paths: dict[str, Path] = {}
        for word, part in self.parts.items():
            path = _first(places, part.names) or _itself(root, part.names)
            for archive in [] if path is not None else _archives(root, part.archives):
                path = _first(_with_folders(_unpacked(self.name, archive, cache)), part.names)
                if path is not None:
                    break
            mistaken = None if path is not None else _of_the_other_kind(places, part.names)
            if mistaken is not None:
                kinds = ("file", "folder") if mistaken.is_dir() else ("folder", "file")
                raise InputError(f"{mistaken} is a {kinds[1]}, and should be a {kinds[0]}: copy or unpack it again")
            if path is not None:
                paths[word] = path
            elif part.needed:
                archived = f" (nor the archive {' or '.join(part.archives)})" if part.archives else ""
                raise InputError(f"{root} holds no {part.names[0]}{archived}, but {_held(root)}: {self._wanted()}")
        return paths

    def _wanted(self) -> str:
        names = [part.names[0] for part in self.parts.values() if part.needed]
        archives = dict.fromkeys(name for part in self.parts.values() if part.needed for name in part.archives[:1])
        packed = f", unpacked or as {' and '.join(archives)}" if archives else ""
        return f"--root names the folder with {self.title} as it is published: {', '.join(names)}{packed}"


class Line(NamedTuple):
    """A line of a list: its number, from 1, and its words."""

    number: int
    words: list[str]


def listed(path: Path, words: int, skipped: int = 0) -> list[Line]:
    """The lines of a published list, each of so many words; blank lines are passed over.

    Args:
        path: the list.
        words: how many a line has; the last of them may hold spaces.
        skipped: how many lines at the top are a header.

    Raises:
        InputError: the file cannot be read, or lists nothing.
        DataError: lines have another number of words: all of them.
    """
    lines = [
        Line(number, text.split(maxsplit=words - 1))
        for number, text in enumerate(split_lines(read_text(path, "copy the file again")), start=1)
        if number > skipped and text.strip()
    ]
    problems = [
        Problem(str(path), line.number, None, f"it has {len(line.words)} words, not {words}", "copy the file again")
        for line in lines
        if len(line.words) != words
    ]
    if problems:
        raise DataError(problems)
    if not lines:
        raise InputError(f"{path} lists nothing: copy the file again")
    return [Line(line.number, [word.strip() for word in line.words]) for line in lines]


def check_announced(path: Path, found: int) -> None:
    """Refuse a list that has not as many lines as its own first one says: it was cut off, or put together.

    Args:
        path: the list.
        found: how many lines it has below its header.

    Raises:
        DataError: its first line is another number, or none.
    """
    first = split_lines(read_text(path))[0]
    if whole(path, Line(1, [first.strip()]), 0) != found:
        problem = f"{first.strip()} lines are announced, but {found} follow"
        raise DataError([Problem(str(path), 1, None, problem, "copy the file again")])


def whole(path: Path, line: Line, place: int) -> int:
    """A word of a line as a whole number.

    Args:
        path: the list.
        line: one of its lines.
        place: of the word.

    Raises:
        DataError: it is none.
    """
    word = line.words[place]
    if not (word.isascii() and word.isdigit() and len(word) < 10):
        raise DataError([Problem(str(path), line.number, None, f"{word!r} is no whole number", "copy the file again")])
    return int(word)


def without_lone(table: ItemTable) -> ItemTable:
    """Without the training images that are the only one of their identity: they can give no matching pair; noted."""
    alone = (pl.col("split") == "train") & pl.col("identity").is_not_null() & (pl.len().over("split", "identity") == 1)
    kept = table.frame.filter(~alone)
    left_out = len(table.frame) - len(kept)
    if not left_out:
        return table
    note = f"{table.source}: left out for their single training image: {plural(left_out, 'identity', 'identities')}"
    return replace(table, frame=kept, notes=(*table.notes, note))


def within(boxes: Sequence[Box], images: Sequence[str | Path]) -> list[Box]:
    """Boxes cut at the edges of their images: published ones reach a pixel beyond now and then.

    Args:
        boxes: left, top, right and bottom, the last two just beyond the box.
        images: the file of each; one that cannot be read leaves its box as it is, since the check of the table tells.
    """
    cut = []
    for (left, top, right, bottom), image in zip(boxes, images):
        try:
            with Image.open(image) as file:
                width, height = file.size
        except (OSError, ValueError, SyntaxError):
            width, height = right, bottom
        inside = left < width and top < height
        cut.append((left, top, min(right, width), min(bottom, height)) if inside else (left, top, right, bottom))
    return cut


def _with_folders(root: Path) -> list[Path]:
    """A folder, the folders in it, and those in these: archives unpack to a folder of the set's own name."""
    inner = [part for part in _sorted(root) if part.is_dir()]
    places = [root, *inner]
    for each in inner:
        with contextlib.suppress(PermissionError):  # such as lost+found beside the data
            places += [part for part in _sorted(each, 64) if part.is_dir()]
    return places


def _sorted(folder: Path, most: int | None = None) -> list[Path]:
    """What lies in a folder, hidden parts left out; nothing where there is more than ``most``, as of images."""
    parts: list[Path] = []
    for part in folder.iterdir():
        parts += [part] if not part.name.startswith((".", "__MACOSX")) else []
        if most is not None and len(parts) > most:
            return []
    return sorted(parts)


def _first(places: Sequence[Path], names: Sequence[str]) -> Path | None:
    for name in names:
        for place in places:
            path = place / name
            if path.is_dir() if name.endswith("/") else path.is_file():
                return path
    return None


def _itself(root: Path, names: Sequence[str]) -> Path | None:
    """The root, where it is the folder that a part asks for: ``--root lfw_funneled``."""
    return root if root.is_dir() and f"{root.absolute().name}/" in names else None


def _of_the_other_kind(places: Sequence[Path], names: Sequence[str]) -> Path | None:
    """A file of a folder's name, or a folder of a file's; nothing where neither is there."""
    found = (path for name in names for place in places if (path := place / name.rstrip("/")).exists())
    return next(found, None)


def _is_archive(path: Path) -> bool:
    """Whether a file is one, or is called like one: that is damaged, then, and told so."""
    archive = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".tbz2", ".txz")
    return path.suffix.lower() in archive or zipfile.is_zipfile(path) or tarfile.is_tarfile(path)


def _archives(root: Path, names: Sequence[str]) -> list[Path]:
    """The archives of those names; one that the root itself is, whatever it is called."""
    if root.is_file():
        return [root] if names else []
    return [path for place in _with_folders(root) for name in names if (path := place / name).is_file()]


def _held(root: Path) -> str:
    """What lies there, in a few words."""
    if root.is_file():
        return "is an archive of something else"
    names = [part.name + "/" * part.is_dir() for part in _sorted(root)]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return "it holds " + (on_one_line(", ".join(names[:SHOWN])) + more if names else "nothing")


def _unpacked(name: str, archive: Path, cache: Path) -> Path:
    """The folder of the cache with the content of an archive, unpacked there if it is not yet."""
    facts = archive.stat()
    mark = hashlib.sha256(f"{archive.name} {facts.st_size} {facts.st_mtime_ns}".encode()).hexdigest()[:12]
    folder = cache / f"{name}-1-{mark}"
    if not folder.is_dir():
        print(f"unpacking {archive} into {folder} …", file=sys.stderr, flush=True)
    return written_once(folder, lambda place: _unpack(archive, place))


def _unpack(archive: Path, folder: Path) -> None:
    again = "copy or download it again"
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                _check_zip(archive, packed)
                packed.extractall(folder)
        else:
            with tarfile.open(archive) as packed_tar:
                packed_tar.extractall(folder, filter="data")
    except tarfile.FilterError as error:
        raise InputError(
            f"{archive} holds a file that points outside ({error}): it is not the archive meant"
        ) from error
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise InputError(f"{archive} cannot be read ({_reason(error)}): {again}") from error
    except OSError as error:
        if error.errno is not None:  # of the machine: a full disk, no permission
            raise
        raise InputError(f"{archive} cannot be read ({_reason(error)}): {again}") from error


def _reason(error: Exception) -> str:
    """What an error says first: of a file that is no archive tarfile goes on with a line for each way to pack one."""
    return on_one_line(str(error).partition("\n")[0].removesuffix(":")) or type(error).__name__


def _check_zip(archive: Path, packed: zipfile.ZipFile) -> None:
    for member in packed.infolist():
        name = member.filename
        if ".." in PurePosixPath(name).parts or name.startswith("/") or "\\" in name:
            raise InputError(f"{archive} holds a file {name!r} that points outside: it is not the archive meant")
        if member.flag_bits & 1:
            raise InputError(
                f"{archive} is encrypted: unpack it with the password that its authors give, and name "
                "the folder with --root"
            )
