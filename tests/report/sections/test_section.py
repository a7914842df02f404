"""What all sections have: a key, a title, and a template of that name."""

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from triune import report
from triune.report import page  # with which every section is imported
from triune.report.sections.headline import Headline
from triune.report.sections.section import Section

TEMPLATES = Path(report.__file__).parent / "templates"
SECTIONS = Section.__subclasses__()


def test_every_section_of_the_page_is_a_file_of_this_folder() -> None:
    files = {path.stem for path in (Path(report.__file__).parent / "sections").glob("*.py")}
    apart = {"__init__", "section", "headline", "cautions"}  # the head of the page has no menu entry
    assert {each.__module__.rpartition(".")[2] for each in SECTIONS} == files - apart
    assert all(f"{each.key}_section" in vars(page) for each in SECTIONS)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.key)
def test_the_template_of_a_section_is_named_by_its_key(section: type[Section]) -> None:
    made = object.__new__(section)
    assert made.template == f"{section.key}.html"
    assert (TEMPLATES / made.template).is_file()


@pytest.mark.parametrize("section", [*SECTIONS, Headline], ids=lambda section: section.__name__)
def test_what_a_section_shows_cannot_be_changed(section: type) -> None:
    with pytest.raises(FrozenInstanceError):
        object.__new__(section).title = "another"


def test_no_two_sections_share_a_link_or_a_heading() -> None:
    assert len({each.key for each in SECTIONS}) == len({each.title for each in SECTIONS}) == len(SECTIONS)
