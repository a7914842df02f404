"""A page of HTML taken apart: is every tag closed, what does it say, which cells do its tables have?"""

import re
from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "input", "hr"}


class Page(HTMLParser):
    """Checks that every tag is closed in order and every id is used once, and keeps what the tests ask for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source = text
        self.open: list[tuple[str, str | None]] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[tuple[str | None, str]] = []
        self.scripts: dict[str, str] = {}
        self.tables: dict[str, list[list[str]]] = {}
        self._caption = ""
        self.feed(text)
        self.close()
        assert self.open == []
        assert len(set(self.ids)) == len(self.ids)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag == "caption":
            self._caption = ""
        if tag == "tr":
            self.tables.setdefault(self._caption, []).append([])
        if tag in ("td", "th"):
            self.tables[self._caption][-1].append("")
        if tag not in VOID:
            self.open.append((tag, dict(attrs).get("id")))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [str(value) for name, value in attrs if name == "id"]
        if tag == "br":
            self.handle_data(" ")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        inside = [tag for tag, _ in self.open]
        if inside and inside[-1] in ("script", "style"):
            self.scripts[self.open[-1][1] or inside[-1]] = data
            return
        section = next((key for tag, key in self.open if tag == "section"), None)
        self.words.append((section, data))
        if inside and inside[-1] == "caption":
            self._caption += data
        elif "td" in inside or "th" in inside:
            self.tables[self._caption][-1][-1] += data

    @property
    def text(self) -> str:
        """All that is said."""
        return _plain("".join(data for _, data in self.words))

    def said(self, section: str) -> str:
        """What is said in one section."""
        return _plain("".join(data for key, data in self.words if key == section))

    def table(self, caption: str) -> list[list[str]]:
        """The cells of the table with this caption, row by row."""
        return [[_plain(cell).strip() for cell in row] for row in self.tables[caption]]

    def classes(self, name: str) -> list[dict[str, str | None]]:
        """The attributes of all elements that have a class."""
        return [attrs for _, attrs in self.tags if name in str(attrs.get("class")).split()]


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text)
