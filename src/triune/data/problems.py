"""A problem of a table: which file, row and column, what is wrong and what to do; all of them in one error."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from triune.errors import InputError
from triune.files import on_one_line

MOST_LISTED = 100
"""How many problems a message lists one by one; of the others it says how many there are, by column."""


class Problem(NamedTuple):
    """One thing that is wrong with a table, where it is, and what to do about it.

    Args:
        file: the table's file or folder.
        row: line of the file (the header is line 1); ``None`` where the table as a whole is meant.
        column: the column, or ``None``.
        problem: what is wrong.
        remedy: what to do.
    """

    file: str
    row: int | None
    column: str | None
    problem: str
    remedy: str

    def __str__(self) -> str:
        row = "" if self.row is None else f", row {self.row}"
        column = "" if self.column is None else f", column {self.column}"
        return on_one_line(f"{self.file}{row}{column}: {self.problem}; {self.remedy}")


class DataError(InputError):
    """A table with problems: all of them, one a line; ``problems`` holds them as data."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        lines = [str(problem) for problem in self.problems[:MOST_LISTED]]
        if len(self.problems) > MOST_LISTED:
            columns = Counter(problem.column or "table" for problem in self.problems[MOST_LISTED:])
            rest = ", ".join(f"{count} in {column}" for column, count in sorted(columns.items()))
            lines.append(f"and {len(self.problems) - MOST_LISTED} more ({rest})")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type["DataError"], tuple[list[Problem]]]:
        # By default a copy, or one sent from another process, would be made from the message.
        return DataError, (self.problems,)
