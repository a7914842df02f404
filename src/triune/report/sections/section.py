"""What all sections of the page have: a key and a title."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Section:
    """One part of the page; a subclass holds the values that its template shows.

    ``key`` is the word in the section menu, the target of its link and the name of the template; ``title`` is the
    heading.
    """

    key: ClassVar[str]
    title: ClassVar[str]

    @property
    def template(self) -> str:
        """The template that shows it."""
        return f"{self.key}.html"
