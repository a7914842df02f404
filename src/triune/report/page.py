"""The report: one self-contained HTML file made of a run folder's files alone."""

import json
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from triune.distances.embeddings import Metric
from triune.errors import InputError
from triune.files import write_text
from triune.report import evidence as evidence, numbers as numbers, pictures as pictures
from triune.report.markup import Section


def write_report(run: Path) -> Path:
    """Write ``run/report.html`` from the folder's files; a part whose files are missing is left out.

    The page needs no network and no other file: styles, script, charts (SVG) and thumbnails are inside it.

    Raises:
        InputError: the folder has no ``metrics.json``, or it is damaged.
    """
    metrics = _read_metrics(run)
    known: tuple[Metric, ...] = ("cosine", "euclidean", "squared_euclidean")
    metric = next((name for name in known if name == metrics["metric"]), None)
    items = pictures.read_items(run, metric) if metric else None
    sections = [
        numbers.roc_section(metrics),
        evidence.comparison_section(metrics),
        numbers.threshold_section(metrics),
        evidence.conditions_section(metrics),
        evidence.folds_section(metrics),
        pictures.map_section(items),
        numbers.retrieval_section(metrics),
        pictures.neighbours_section(items),
        pictures.triplets_section(items),
        pictures.mistakes_section(items, metrics),
        pictures.masks_section(run, metrics),
        numbers.classes_section(metrics),
        numbers.training_section(run, metrics),
        numbers.data_section(metrics),
        _next_section(run, metrics),
        _configuration_section(run),
    ]
    write_text(run / "report.html", _page(metrics, [section for section in sections if section is not None]))
    return run / "report.html"


def _page(metrics: dict[str, Any], sections: list[Section]) -> str:
    assets = files("triune.report").joinpath("assets")
    facts = [
        escape(str(metrics["data"]["source"])),
        f"{escape(str(metrics.get('created', ''))[:16].replace('T', ' '))} UTC",
    ]
    links = "".join(f"<li><a href='#{section.key}'>{section.key.capitalize()}</a></li>" for section in sections)
    return Template(assets.joinpath("report.html").read_text(encoding="utf-8")).substitute(
        name=escape(str(metrics["name"])),
        version=escape(str(metrics["triune"])),
        style=assets.joinpath("report.css").read_text(encoding="utf-8"),
        script=assets.joinpath("report.js").read_text(encoding="utf-8"),
        facts=" · ".join(facts),
        split=numbers.split_in_words(metrics),
        headline=numbers.headline(metrics),
        cautions=numbers.cautions(metrics),
        links=links,
        sections="\n".join(section.html() for section in sections),
    )


def _next_section(run: Path, metrics: dict[str, Any]) -> Section | None:
    if not (run / "model.safetensors").is_file():
        return None
    where = escape(str(run))
    lines = ["# same or different?", f"triune verify {where} a.jpg b.jpg"]
    if "all" in (metrics.get("operating_point") or {}):
        lines += [
            "# the same at a stricter threshold, for a program to read",
            f"triune verify {where} a.jpg b.jpg --fpr 0.01 --json",
        ]
    lines += ["# judge it on other images", f"triune evaluate {where} --data items.csv"]
    shown = "\n".join(f"<i>{line}</i>" if line.startswith("#") else line for line in lines)
    return Section("use", "Use it", "", f"<pre tabindex='0'>{shown}</pre>")


def _configuration_section(run: Path) -> Section | None:
    path = run / "config.yaml"
    if not path.is_file():
        return None
    text = escape(path.read_text(encoding="utf-8", errors="replace"))
    told = "All settings of this run; <code>triune train --config config.yaml</code> trains it again."
    body = f"<details><summary>Show config.yaml</summary><pre tabindex='0'>{text}</pre></details>"
    return Section("settings", "Configuration", told, body)


def _read_metrics(run: Path) -> dict[str, Any]:
    path = run / "metrics.json"
    try:
        metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: name a folder that `triune train` or `triune evaluate` wrote"
        ) from error
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): run `triune evaluate` again") from error
    missing = [key for key in ("triune", "name", "data", "metric", "verification") if key not in metrics]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}: run `triune evaluate` again")
    return metrics
