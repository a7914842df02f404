"""Lists of pairs to compare: a CSV, or the pairs.txt of Labeled Faces in the Wild."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from triune.data.columns import Columns
from triune.data.decode import Array
from triune.data.problems import DataError, Problem
from triune.data.tables import YES_NO, Table, read_cells, read_text, split_lines
from triune.errors import InputError

MOST_DIGITS = 18
"""Of a number in a list: what 64 bits hold."""

_COLUMNS = Columns(
    known=("first", "second", "match", "fold"),
    needed=("first", "second", "match"),
    advice="a list of pairs has the columns first, second and match, and maybe fold",
)


@dataclass(frozen=True)
class PairList:
    """P pairs in the order of their file.

    Args:
        first: P image paths or row names, as they are written there.
        second: the P others.
        is_match: ``(P,)`` booleans: whether the pair shows the same identity.
        folds: P names of folds, or ``None`` where the list has none.
        source: the file, for messages.
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    is_match: Array
    folds: tuple[str, ...] | None
    source: str

    def __len__(self) -> int:
        return len(self.first)

    @property
    def names(self) -> tuple[str, ...]:
        """Every image or row that occurs, once, in the order of its first mention: what is to be embedded."""
        return tuple(dict.fromkeys(name for pair in zip(self.first, self.second) for name in pair))

    def rows(self, names: Sequence[str]) -> tuple[Array, Array]:
        """The pairs as two int64 arrays ``(P,)`` of places in ``names``, which name the rows of the embeddings.

        A pair's image that is none of the names is the one whose path ends in it: ``Ann/Ann_0001.jpg`` is
        ``/data/lfw_funneled/Ann/Ann_0001.jpg``.

        Raises:
            InputError: a pair's image is not among the names, or is the end of two of them, or a name stands for two
                rows.
        """
        places = {name: place for place, name in enumerate(names)}
        if len(places) < len(names):
            twice = next(name for place, name in enumerate(names) if places[name] != place)
            raise InputError(f"{twice!r} names two rows of the embeddings: names must tell rows apart")
        places |= self._by_their_ends([name for name in self.names if name not in places], names)
        missing = [name for name in self.names if name not in places]
        if missing:
            shown = ", ".join(map(repr, missing[:5])) + (", …" if len(missing) > 5 else "")
            raise InputError(
                f"{self.source} lists {len(missing)} of {len(self.names)} images that have no embedding ({shown}): "
                f"embed them, or write names as the embeddings do (the first of those is {next(iter(names), '')!r})"
            )
        return (
            np.array([places[name] for name in self.first], dtype=np.int64),
            np.array([places[name] for name in self.second], dtype=np.int64),
        )

    def _by_their_ends(self, wanted: Sequence[str], names: Sequence[str]) -> dict[str, int]:
        """The places of the names that end in a wanted one, which has a folder in it."""
        depths = {name.count("/") for name in wanted} - {0}
        found: dict[str, int] = {}
        sought = set(wanted)
        for place, name in enumerate(names):
            parts = name.split("/")
            for depth in depths if len(parts) > 1 else ():
                end = "/".join(parts[-depth - 1 :])
                if end in sought and found.setdefault(end, place) != place:
                    raise InputError(
                        f"{self.source}: {end!r} is the end of {names[found[end]]!r} and of {name!r}: write more of it"
                    )
        return found


def read_open_pairs(path: str | Path) -> list[tuple[str, str]]:
    """Read pairs of images of which nobody says whether they match: a CSV or Parquet table of ``first`` and ``second``.

    Relative paths are relative to the table; other columns are passed over.

    Raises:
        InputError: there is no such file, it is not text, it is empty, or it lacks a column.
        DataError: lines are wrong: all of them, with their numbers.
    """
    path = Path(path)
    columns = Columns(
        ("first", "second"), ("first", "second"), advice="a list of pairs has the columns first and second"
    )
    table = read_cells(path, columns)
    cells = list(zip(table.lines, table.text("first"), table.text("second")))
    empty = [
        Problem(table.source, line, name, "it is empty", "name an image or remove the row")
        for line, *both in cells
        for name, cell in zip(("first", "second"), both)
        if not cell
    ]
    if table.problems or empty:
        raise DataError([*table.problems, *empty])
    if not cells:
        raise InputError(f"{path} lists no pair: a line a pair is needed below the header")
    return [(str(path.parent / str(first)), str(path.parent / str(second))) for _, first, second in cells]


class _Pair(NamedTuple):
    line: int
    first: str
    second: str
    is_match: bool
    fold: str | None


def read_pairs(path: str | Path) -> PairList:
    """Read a list of pairs. A first line of one or two whole numbers says that it is LFW's; else it is a CSV.

    **CSV** (comma, semicolon or tab) or Parquet: columns ``first``, ``second``, ``match`` (true or false, 1 or 0, yes
    or no) and maybe ``fold`` (any name); others are passed over. Names are kept as they are written.

    **LFW** (Huang et al. 2007): the first line is ``folds pairs`` or ``pairs``; then for each fold so many lines
    ``name i j`` of the same person, and as many ``name1 i name2 j`` of different ones. They become
    ``name/name_0001.jpg``; folds are numbered from 1. A list of one set (``pairs`` alone) has no folds.

    Raises:
        InputError: there is no such file, it is not text, it is empty, or it lacks a column.
        DataError: lines are wrong: all of them, with their numbers.
    """
    path = Path(path)
    numbers: list[str] = []
    if path.suffix.lower() != ".parquet":
        lines = split_lines(read_text(path))
        numbers = lines[0].split() if lines else []
    problems: list[Problem] = []
    if 1 <= len(numbers) <= 2 and all(word.isascii() and word.isdigit() for word in numbers):
        huge = next((word for word in numbers if not _is_number(word)), None)
        if huge is not None:
            raise InputError(f"{path}, row 1: {huge} pairs are announced; correct the number")
        pairs = _read_lfw(str(path), lines, [int(word) for word in numbers], problems)
    else:
        pairs = _read_rows(read_cells(path, _COLUMNS), problems)
    problems += _contradictions(str(path), pairs)
    if problems:
        raise DataError(sorted(problems, key=lambda problem: problem.row or 0))
    if not pairs:
        raise InputError(f"{path} lists no pair: a line a pair is needed below the header")
    folds = tuple(pair.fold for pair in pairs if pair.fold is not None)
    return PairList(
        first=tuple(pair.first for pair in pairs),
        second=tuple(pair.second for pair in pairs),
        is_match=np.array([pair.is_match for pair in pairs]),
        folds=folds or None,
        source=str(path),
    )


def _read_rows(table: Table, problems: list[Problem]) -> list[_Pair]:
    problems += table.problems
    cells = {name: table.text(name) for name in _COLUMNS.known if name in table.frame.columns}
    pairs = []
    for line, values in zip(table.lines, zip(*cells.values())):
        row = {name: value or "" for name, value in zip(cells, values)}
        found = list(_cell_problems(table.source, line, row))
        if found:
            problems += found
        else:
            is_match = YES_NO[row["match"].lower()]
            pairs.append(_Pair(line, row["first"], row["second"], is_match, row.get("fold")))
    return pairs


def _cell_problems(source: str, line: int, row: dict[str, str]) -> Iterator[Problem]:
    for name in ("first", "second"):
        if not row[name]:
            yield Problem(source, line, name, "it is empty", "name an image or remove the row")
    if row["first"] and row["first"] == row["second"]:
        yield Problem(source, line, "second", f"{row['first']!r} is paired with itself", "name another image")
    if row["match"].lower() not in YES_NO:
        yield Problem(source, line, "match", f"it is {row['match']!r}", "write true or false")
    if row.get("fold") == "":
        yield Problem(source, line, "fold", "it is empty", "name the fold, or remove the column altogether")


def _read_lfw(source: str, lines: list[str], numbers: list[int], problems: list[Problem]) -> list[_Pair]:
    folds, half = (1, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])
    listed = [(line, text.split()) for line, text in enumerate(lines[1:], start=2) if text.strip()]
    if len(listed) != 2 * folds * half:
        problem = f"{folds} x 2 x {half} = {2 * folds * half} pairs are announced, but {len(listed)} lines follow"
        problems.append(Problem(source, 1, None, problem, "correct the numbers, or complete the list"))
    pairs = []
    for place, (line, words) in enumerate(listed):
        expected = place % (2 * half) < half if half else len(words) == 3
        remedy = "write 'name i j' for the same person, or 'name1 i name2 j' for two"
        if len(words) not in (3, 4):
            problems.append(Problem(source, line, None, f"it has {len(words)} words, not 3 or 4", remedy))
            continue
        is_match = len(words) == 3
        wrong = [word for word in (words[1], words[-1]) if not _is_number(word) or int(word) < 1]
        if wrong:
            problems.append(Problem(source, line, None, f"{wrong[0]!r} is not the number of an image", remedy))
            continue
        first, second = _lfw_image(words[0], words[1]), _lfw_image(words[-2] if not is_match else words[0], words[-1])
        if is_match and first == second:
            problem, remedy = f"image {int(words[1])} of {words[0]} is paired with itself", "name another image"
            problems.append(Problem(source, line, None, problem, remedy))
        elif not is_match and words[0] == words[2]:
            problem = f"both images are of {words[0]}, but four words mean two people"
            problems.append(Problem(source, line, None, problem, f"write '{words[0]} {words[1]} {words[3]}'"))
        elif is_match != expected and len(listed) == 2 * folds * half:
            kinds = ("different people", "the same person")
            problem = f"it is a pair of {kinds[is_match]} where one of {kinds[expected]} is due"
            remedy = f"list {half} pairs of the same person, then {half} of different people, in each fold"
            problems.append(Problem(source, line, None, problem, remedy))
        else:
            fold = str(place // (2 * half) + 1) if len(numbers) == 2 and half else None
            pairs.append(_Pair(line, first, second, is_match, fold))
    return pairs


def _contradictions(source: str, pairs: list[_Pair]) -> Iterator[Problem]:
    """Pairs that are listed, in either order, once as matching and once not."""
    seen: dict[tuple[str, str], _Pair] = {}
    for pair in pairs:
        key = min(pair.first, pair.second), max(pair.first, pair.second)
        before = seen.setdefault(key, pair)
        if before.is_match != pair.is_match:
            kinds = ("not matching", "matching")
            problem = f"the pair is {kinds[pair.is_match]} here but {kinds[before.is_match]} in row {before.line}"
            yield Problem(source, pair.line, "match", problem, "correct one of the two")


def _lfw_image(name: str, number: str) -> str:
    return f"{name}/{name}_{int(number):04d}.jpg"


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= MOST_DIGITS
