"""The report: one self-contained HTML file made of a folder's files alone."""

import math
from functools import cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from triune.files import write_text
from triune.plurals import count, plural
from triune.report import formatting
from triune.report.contents import Contents, read_contents
from triune.report.sections.cautions import cautions
from triune.report.sections.classes import classes_section
from triune.report.sections.comparison import comparison_section
from triune.report.sections.conditions import conditions_section
from triune.report.sections.data import data_section
from triune.report.sections.folds import folds_section
from triune.report.sections.headline import headline
from triune.report.sections.map import map_section
from triune.report.sections.masks import masks_section
from triune.report.sections.mistakes import mistakes_section
from triune.report.sections.neighbours import neighbours_section
from triune.report.sections.search import search_section
from triune.report.sections.section import Section
from triune.report.sections.settings import settings_section
from triune.report.sections.threshold import threshold_section
from triune.report.sections.training import training_section
from triune.report.sections.triplets import triplets_section
from triune.report.sections.use import use_section
from triune.report.sections.verification import verification_section


def write_report(folder: Path) -> Path:
    """Write ``folder/report.html`` from the folder's files; a section whose files are missing is left out.

    The page needs no network and no other file: styles, script, charts (SVG) and thumbnails are inside it.

    Args:
        folder: a run, or what ``triune evaluate`` wrote.

    Returns:
        The file.

    Raises:
        InputError: the folder has no ``metrics.json``, or one of its files is damaged.
    """
    path = folder / "report.html"
    write_text(path, page(read_contents(folder)))
    return path


def page(contents: Contents) -> str:
    """The whole page as HTML."""
    return (
        _environment()
        .get_template("page.html")
        .render(
            results=contents.results,
            headline=headline(contents.results),
            cautions=cautions(contents.results),
            sections=sections(contents),
        )
    )


def sections(contents: Contents) -> list[Section]:
    """The sections that there is something to say in, in the order of the page."""
    results, items = contents.results, contents.items
    made: list[Section | None] = [
        verification_section(results),
        comparison_section(results),
        threshold_section(results),
        conditions_section(results),
        folds_section(results),
        map_section(items),
        search_section(results),
        neighbours_section(items),
        triplets_section(items),
        mistakes_section(items, results),
        masks_section(results, contents.masks),
        classes_section(results),
        training_section(results, contents.history),
        data_section(results),
        use_section(contents.folder, results, contents.has_model),
        settings_section(contents.settings),
    ]
    return [section for section in made if section is not None]


@cache
def _environment() -> Environment:
    """Templates that escape every value that is not made of markup of ours, and refuse names they do not know."""
    environment = Environment(
        loader=PackageLoader("triune.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    written = (
        formatting.number,
        formatting.signed,
        count,
        plural,
        formatting.percent,
        formatting.round_percent,
        formatting.in_hundred,
        formatting.p_value,
        formatting.duration,
        formatting.minute,
    )
    environment.filters.update({function.__name__: function for function in written})
    environment.globals["infinity"] = math.inf
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    assets = files("triune.report").joinpath("assets")
    for name in ("css", "js"):
        environment.globals[name] = Markup(assets.joinpath(f"report.{name}").read_text(encoding="utf-8"))
    return environment
