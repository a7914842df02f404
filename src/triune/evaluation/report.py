"""The report: one self-contained HTML file made of a run folder's files alone."""

import base64
import io
import json
import math
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars
from PIL import Image, UnidentifiedImageError

from triune.errors import InputError
from triune.evaluation import figures
from triune.evaluation.embedding_map import embedding_map
from triune.files import write_text
from triune.functional.distances import Metric
from triune.functional.neighbours import top_k
from triune.functional.pairs import HardPairs, hardest_pairs

Array = np.ndarray[Any, Any]

NAMES = {
    "trained": "this model",
    "pixels": "raw pixels",
    "untrained": "untrained backbone",
    "pretrained": "pretrained backbone",
}
STYLES = {"trained": "s0", "pixels": "s1", "untrained": "s2", "pretrained": "s2"}
MAP_POINTS = 1500
MAP_COLOURS = 12
GALLERY = 8
THUMB, LARGE = 40, 112


class Items(NamedTuple):
    """The test items that have an embedding: the table's rows, unit or plain embeddings, and identities."""

    frame: polars.DataFrame
    embeddings: Array
    identities: Array


def write_report(run: Path) -> Path:
    """Write ``run/report.html`` from the folder's files; parts whose files are missing are left out.

    Raises:
        InputError: the folder has no ``metrics.json``, or it is damaged.
    """
    metrics = _read_metrics(run)
    items = _read_items(run)
    metric: Metric = metrics["metric"] if metrics["metric"] in ("euclidean", "squared_euclidean") else "cosine"
    sections = [
        _headline(metrics),
        _roc(metrics),
        _histogram(metrics),
        _threshold(metrics),
        _retrieval(metrics),
        _map(items),
        _triplets(items, metric),
        _mistakes(items, metric, metrics),
        _neighbours(items, metric),
        _masks(run, metrics),
        _classes(metrics),
        _curves(run),
        _next(run, metrics),
        _configuration(run),
    ]
    assets = files("triune.evaluation").joinpath("report_assets")
    name = escape(str(metrics["name"]))
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{name} · Triune</title>
<style>{assets.joinpath("report.css").read_text(encoding="utf-8")}</style>
</head>
<body>
<main>
{_title(metrics)}
{"".join(sections)}
</main>
<footer>Written by Triune {escape(str(metrics["triune"]))}.</footer>
<script>{assets.joinpath("report.js").read_text(encoding="utf-8")}</script>
</body>
</html>
"""
    write_text(run / "report.html", page)
    return run / "report.html"


def _title(metrics: dict[str, Any]) -> str:
    data = metrics["data"]
    counts = data["splits"]
    told = {
        "open-set": "Open-set split: the identities judged here were never seen in training.",
        "closed-set": "Closed-set split: other images of the identities judged here were seen in training.",
        "given": "The split is the table's own.",
    }
    rows = "".join(
        f"<tr><th>{escape(split)}</th><td>{c['images']:,}</td><td>{c['identities']:,}</td><td>{c['classes']:,}</td></tr>"
        for split, c in counts.items()
    )
    table = (
        f"<table class='small'><thead><tr><th>split</th><th>images</th><th>identities</th><th>classes</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
        if rows
        else ""
    )
    when = escape(str(metrics["created"])[:16].replace("T", " "))
    return (
        f"<header><p class='brand'>Triune report</p><h1>{escape(str(metrics['name']))}</h1>"
        f"<p class='quiet'>{escape(str(data['source']))} · {when} UTC</p>"
        f"<div class='split'><p>{told[data['split']] if rows else ''}</p>{table}</div></header>"
    )


def _headline(metrics: dict[str, Any]) -> str:
    found = _judged(metrics, "trained")
    cards = []
    if found is not None:
        figures_ = found[1]
        point = figures_["tpr_at_fpr"]["0.05"]
        others = [
            f"{NAMES[name]} {_percent(other[1]['tpr_at_fpr']['0.05']['tpr'])}"
            for name in metrics["verification"]
            if name != "trained" and (other := _judged(metrics, name)) is not None
        ]
        doubt = "" if point["reliable"] else f" Not to be leaned on: {escape(str(point['reason']))}."
        cards.append(
            _card(
                "TPR at FPR 5%",
                _percent(point["tpr"]),
                f"Where 5 in 100 different pairs are wrongly accepted, {_in_hundred(point['tpr'])} in 100 same pairs are "
                f"recognised. {escape(' · '.join(others))}{doubt}",
                big=True,
            )
        )
        cards.append(
            _card(
                "AUC", _number(figures_["auc"]), "How often a same pair scores above a different pair, drawn at random."
            )
        )
        cards.append(
            _card("EER", _percent(figures_["eer"]), "The error rate where both kinds of mistake are equally often.")
        )
    retrieval = metrics.get("retrieval", {}).get("trained")
    if retrieval and "recall_at" in retrieval:
        text = "The most similar other image shows the same identity so often."
        cards.append(_card("Recall@1", _percent(retrieval["recall_at"]["1"]), text))
    masks = metrics.get("segmentation")
    if masks and "iou" in masks:
        text = f"Overlap of predicted and true masks, {masks['items']:,} {escape(masks['split'])} images. Dice {_number(masks['dice'])}."
        cards.append(_card("Mask IoU", _number(masks["iou"]), text))
    classes = metrics.get("classification")
    if classes and "accuracy" in classes:
        text = f"Of {classes['items']:,} {escape(classes['split'])} images, so many are put in the right class."
        cards.append(_card("Class accuracy", _percent(classes["accuracy"]), text))
    return f"<section class='cards'>{''.join(cards)}</section>" if cards else ""


def _roc(metrics: dict[str, Any]) -> str:
    drawn = []
    for name in metrics["verification"]:
        found = _judged(metrics, name)
        if found is not None:
            drawn.append((name, found[1]))
    if not drawn:
        return ""
    main = drawn[0][1]
    low = max(10 ** math.floor(math.log10(1 / max(10, main["impostors"]))), 1e-6)
    views = []
    for log in (False, True):
        x = figures.Axis("false-positive rate: different pairs accepted", low if log else 0.0, 1.0, log, True)
        y = figures.Axis("true-positive rate: same pairs accepted", 0.0, 1.0, percent=True)
        lines = [figures.Series(NAMES[name], *_staircase(f["roc"]), STYLES[name]) for name, f in reversed(drawn)]
        grid = list(np.geomspace(low, 1, 60)) if log else [0.0, 1.0]
        lines.insert(0, figures.Series("chance", grid, grid, "quiet"))
        marks = [
            figures.Mark(
                f"{_percent(p['tpr'])} at {float(fpr):.3g}".replace("0.05", "5%").replace("0.01", "1%"),
                p["fpr"],
                p["tpr"],
            )
            for fpr, p in main["tpr_at_fpr"].items()
            if fpr in ("0.05", "0.01") and (log or fpr == "0.05")
        ]
        views.append(
            figures.chart("ROC curve, " + ("logarithmic" if log else "linear") + " FPR axis", x, y, lines, marks)
        )
        key = figures.legend(lines[::-1])
    heads = "".join(f"<th>TPR at FPR {float(fpr) * 100:g}%</th>" for fpr in main["tpr_at_fpr"])
    rows = ""
    doubts = set()
    for name, f in drawn:
        cells = ""
        for fpr, point in f["tpr_at_fpr"].items():
            doubts |= set() if point["reliable"] else {f"FPR {float(fpr) * 100:g}%: {point['reason']}"}
            cells += f"<td>{_percent(point['tpr'])}{'' if point['reliable'] else '<sup>?</sup>'}</td>"
        rows += f"<tr><th>{NAMES[name]}</th>{cells}<td>{_number(f['auc'])}</td><td>{_percent(f['eer'])}</td></tr>"
    warn = "".join(f"<p class='warn'><b>?</b> {escape(text)}.</p>" for text in sorted(doubts))
    return _section(
        "Same or different",
        f"Every pair of {escape(_judged(metrics, 'trained')[0] if _judged(metrics, 'trained') else 'test')} images: "
        f"{main['matches']:,} that match and {main['impostors']:,} that do not.",
        f"<div class='toggle'><input type='radio' name='roc' id='roc-lin' checked><label for='roc-lin'>linear</label>"
        f"<input type='radio' name='roc' id='roc-log'><label for='roc-log'>logarithmic</label>"
        f"<div class='view lin'>{views[0]}</div><div class='view log'>{views[1]}</div></div>{key}"
        f"<div class='wide'><table><thead><tr><th></th>{heads}<th>AUC</th><th>EER</th></tr></thead><tbody>{rows}</tbody></table></div>{warn}",
    )


def _histogram(metrics: dict[str, Any]) -> str:
    found = _judged(metrics, "trained")
    if found is None or "histogram" not in found[1]:
        return ""
    histogram, metric = found[1]["histogram"], metrics["metric"]
    edges = [_distance(e, metric) for e in histogram["edges"]][::-1]
    lines = [
        figures.Series("same identity", *figures.steps(edges, histogram["matches"][::-1]), "s0", True),
        figures.Series("different identities", *figures.steps(edges, histogram["impostors"][::-1]), "s1", True),
    ]
    top = max(max(line.y) for line in lines) * 1.08
    point = metrics.get("operating_point") or {}
    marks = [figures.Mark("threshold", point["distance"], None)] if _is_number(point.get("distance")) else []
    x = figures.Axis(f"{metric.replace('_', ' ')} distance", edges[0], edges[-1])
    y = figures.Axis("share of pairs", 0.0, top, percent=True)
    svg = figures.chart("Distances of matching and of non-matching pairs", x, y, lines, marks)
    told = "The less the two overlap, the fewer mistakes. Pairs to the left of the threshold are accepted as the same."
    return _section("Distances", told, svg + figures.legend(lines))


def _threshold(metrics: dict[str, Any]) -> str:
    point = metrics.get("operating_point")
    if not point:
        return ""
    if "unavailable" in point:
        return _section("The threshold", f"There is none: {escape(point['unavailable'])}.", "")
    columns = [
        (f"{name} <small>{note}</small>", point[name])
        for name, note in (("val", "chosen here"), ("test", "applied here"))
        if point.get(name)
    ]
    rows = ""
    names = {
        "tp": "TP <small>same, accepted</small>",
        "fn": "FN <small>same, rejected</small>",
        "fp": "FP <small>different, accepted</small>",
        "tn": "TN <small>different, rejected</small>",
        "tpr": "TPR = TP / (TP + FN)",
        "fpr": "FPR = FP / (FP + TN)",
        "precision": "precision",
        "accuracy": "accuracy",
    }
    for key, name in names.items():
        cells = "".join(
            f"<td>{c[key]:,}</td>" if key in ("tp", "fn", "fp", "tn") else f"<td>{_percent(c[key])}</td>"
            for _, c in columns
        )
        rows += f"<tr><th>{name}</th>{cells}</tr>"
    heads = "".join(f"<th>{head}</th>" for head, _ in columns)
    return _section(
        "The threshold",
        f"Two images are called the same at a distance of at most <b>{_number(point['distance'], 4)}</b>. It was chosen on validation "
        f"pairs for an FPR of {_percent(point['target_fpr'])} and then applied, unchanged, to the test pairs.",
        f"<div class='wide'><table><thead><tr><th></th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>",
    )


def _retrieval(metrics: dict[str, Any]) -> str:
    kept = {name: r for name, r in metrics.get("retrieval", {}).items() if r and "recall_at" in r}
    if not kept:
        return ""
    ks = list(next(iter(kept.values()))["recall_at"])
    heads = "".join(f"<th>Recall@{k}</th>" for k in ks)
    rows = "".join(
        f"<tr><th>{NAMES[name]}</th>{_cells([r['recall_at'][k] for k in ks])}"
        f"<td>{_percent(r['map_at_r'])}</td><td>{_percent(r['r_precision'])}</td><td>{_number(r['mrr'])}</td></tr>"
        for name, r in kept.items()
    )
    first = next(iter(kept.values()))
    left = f" {first['left_out']:,} more have no second image and are left out." if first["left_out"] else ""
    return _section(
        "Retrieval",
        f"Each of {first['queries']:,} test images asks for its like among all others.{left}",
        f"<div class='wide'><table><thead><tr><th></th>{heads}<th>MAP@R</th><th>R-precision</th><th>MRR</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>",
    )


def _map(items: Items | None) -> str:
    if items is None or len(items.identities) < 3:
        return ""
    chosen = _spread(len(items.identities), MAP_POINTS)
    places = embedding_map(items.embeddings[chosen])
    names, codes = np.unique(items.identities[chosen], return_inverse=True)
    sheet, columns = _sprite_sheet([items.frame["image"][int(i)] for i in chosen])
    style = f' style="--sheet:url({sheet})"' if sheet else ""
    side = 640
    dots = "".join(
        f'<circle class="c{code % MAP_COLOURS}" cx="{16 + x * (side - 32):.1f}" cy="{16 + (1 - y) * (side - 32):.1f}" r="4.5" '
        f'data-i="{i}" data-n="{escape(str(names[code]))}"/>'
        for i, ((x, y), code) in enumerate(zip(places, codes, strict=True))
    )
    return _section(
        "Embedding map",
        f"{len(chosen):,} test images of {len(names):,} identities; near means similar (t-SNE). Point at a dot to see its image.",
        f'<div class="map" data-columns="{columns}" data-thumb="{THUMB}"{style}>'
        f'<svg viewBox="0 0 {side} {side}" role="img" aria-label="Map of the test embeddings, coloured by identity">{dots}</svg>'
        f'<div class="tip" hidden><span class="thumb"></span><span class="name"></span></div></div>',
    )


def _triplets(items: Items | None, metric: Metric) -> str:
    if items is None or not _has_images(items):
        return ""
    nearest, farthest = hardest_pairs(items.embeddings, items.identities, metric=metric, k=1)
    if not len(nearest.score) or not len(farthest.score):
        return ""
    rows = []
    for a, p, n, d_ap, d_an in _hardest_triplets(items, metric):
        cells = [(a, "anchor", ""), (p, "positive", f"d {_number(d_ap)}"), (n, "negative", f"d {_number(d_an)}")]
        figs = "".join(
            f"<figure class='{role}'>{_image(items, i)}<figcaption>{role} {text}<br>{escape(str(items.identities[i]))}</figcaption></figure>"
            for i, role, text in cells
        )
        rows.append(f"<div class='triplet'>{figs}</div>")
    return _section(
        "The hardest triplets",
        "An anchor, its farthest image of the same identity, and its closest image of another. The worst of each identity.",
        f"<div class='triplets'>{''.join(rows)}</div>",
    )


def _hardest_triplets(items: Items, metric: Metric) -> list[tuple[int, int, int, float, float]]:
    """The anchors, at most one an identity, with the largest d(a,p) − d(a,n)."""
    scores, order = top_k(items.embeddings, items.embeddings, len(items.identities) - 1, metric, exclude_self=True)
    distances = np.asarray([[1.0]]) - scores.numpy() if metric == "cosine" else -scores.numpy()
    same = items.identities[order.numpy()] == items.identities[:, None]
    worst: dict[Any, tuple[float, int, int, int, float, float]] = {}
    for a in np.flatnonzero(same.any(axis=1) & (~same).any(axis=1)):
        last = int(np.flatnonzero(same[a])[-1])
        first = int(np.flatnonzero(~same[a])[0])
        d_ap, d_an = float(distances[a, last]), float(distances[a, first])
        entry = (d_ap - d_an, int(a), int(order[a, last]), int(order[a, first]), d_ap, d_an)
        name = items.identities[a]
        if name not in worst or entry > worst[name]:
            worst[name] = entry
    return [entry[1:] for entry in sorted(worst.values(), reverse=True)[:GALLERY]]


def _mistakes(items: Items | None, metric: Metric, metrics: dict[str, Any]) -> str:
    point = metrics.get("operating_point") or {}
    if items is None or not _has_images(items) or not _is_number(point.get("threshold")):
        return ""
    accepted, rejected = hardest_pairs(items.embeddings, items.identities, metric=metric, k=400)
    blocks = []
    wrong = (
        ("Different, but accepted", accepted, accepted.score >= point["threshold"]),
        ("Same, but rejected", rejected, rejected.score < point["threshold"]),
    )
    for title, pairs, chosen in wrong:
        shown = _varied(items, pairs, np.flatnonzero(chosen))
        figs = "".join(
            f"<figure class='pair'>{_image(items, int(pairs.first[k]))}{_image(items, int(pairs.second[k]))}<figcaption>"
            f"{escape(str(items.identities[pairs.first[k]]))} · {escape(str(items.identities[pairs.second[k]]))}<br>"
            f"d {_number(_distance(float(pairs.score[k]), metric))}</figcaption></figure>"
            for k in shown
        )
        blocks.append(f"<h3>{title}</h3><div class='gallery'>{figs or '<p>None.</p>'}</div>")
    told = "The worst mistakes on test pairs at the threshold, a few of each kind of confusion."
    return _section("Mistakes at the threshold", told, "".join(blocks))


def _neighbours(items: Items | None, metric: Metric) -> str:
    if items is None or not _has_images(items) or len(items.identities) < 3:
        return ""
    queries = _one_each(items.identities)[:GALLERY]
    _, order = top_k(items.embeddings, items.embeddings, min(6, len(items.identities) - 1), metric, exclude_self=True)
    rows = []
    for q in queries:
        figs = f"<figure class='query'>{_image(items, q)}<figcaption>query<br>{escape(str(items.identities[q]))}</figcaption></figure>"
        for j in order[q].tolist():
            right = items.identities[j] == items.identities[q]
            figs += (
                f"<figure class='{'right' if right else 'wrong'}'>{_image(items, j)}<figcaption>{'✓ same' if right else '✗ other'}"
                f"<br>{escape(str(items.identities[j]))}</figcaption></figure>"
            )
        rows.append(f"<div class='row'>{figs}</div>")
    return _section(
        "Nearest neighbours",
        "The most similar test images of a sample of queries.",
        f"<div class='rows'>{''.join(rows)}</div>",
    )


def _masks(run: Path, metrics: dict[str, Any]) -> str:
    found = metrics.get("segmentation")
    frame = _read_frame(run)
    if not found or frame is None or not (run / "masks").is_dir():
        return ""
    cells = []
    for row in frame.filter(polars.col("split") == found.get("split", "test")).iter_rows(named=True):
        predicted = run / "masks" / f"{row['row']}.png"
        if len(cells) == 2 * GALLERY or not predicted.is_file() or row["mask"] is None:
            continue
        images = [_overlay(row["image"], mask) for mask in (row["mask"], predicted)]
        if None not in images:
            cells.append(
                f"<figure class='pair'><img src='{images[0]}' alt='image with its true mask' loading='lazy'>"
                f"<img src='{images[1]}' alt='image with the predicted mask' loading='lazy'><figcaption>true · predicted</figcaption></figure>"
            )
    if not cells:
        return ""
    told = f"IoU {_number(found['iou'])}, Dice {_number(found['dice'])} over {found['items']:,} {escape(found['split'])} images."
    return _section("Masks", told, f"<div class='gallery'>{''.join(cells)}</div>")


def _classes(metrics: dict[str, Any]) -> str:
    found = metrics.get("classification")
    if not found:
        return ""
    if "unavailable" in found:
        return _section("Classes", f"Not measured: {escape(found['unavailable'])}.", "")
    told = f"{_percent(found['accuracy'])} of {found['items']:,} {escape(found['split'])} images are put in the right class."
    names, confusion = found["classes"], np.asarray(found["confusion"])
    if len(names) > 40:
        return _section("Classes", told, "<p>The table of confusions is in metrics.json.</p>")
    totals = np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    heads = "".join(f"<th scope='col'>{escape(name)}</th>" for name in names)
    rows = "".join(
        f"<tr><th scope='row'>{escape(name)}</th>"
        + "".join(
            f"<td class='{'hit' if i == j else 'miss'}' style='--share:{share:.3f}'>{count or '·'}</td>"
            for j, (count, share) in enumerate(
                zip(confusion[i].tolist(), (confusion[i] / totals[i]).tolist(), strict=True)
            )
        )
        + "</tr>"
        for i, name in enumerate(names)
    )
    table = f"<table class='confusion'><thead><tr><th>true ↓ predicted →</th>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    return _section("Classes", told, f"<div class='wide'>{table}</div>")


def _curves(run: Path) -> str:
    try:
        history = polars.read_csv(run / "history.csv", infer_schema_length=None)
    except (OSError, polars.exceptions.PolarsError):
        return ""
    if len(history) < 2:
        return ""
    groups = [
        (
            "Losses",
            "loss",
            {"train_classification": "classes", "train_segmentation": "masks", "train_triplet": "triplets"},
            None,
        ),
        ("Triplets", "distance", {"train_positive_distance": "d(a,p)", "train_negative_distance": "d(a,n)"}, None),
        ("Health", "share", {"train_active_share": "active triplets", "train_collapse": "collapse"}, 1.0),
        ("Validation", "share", {"val_tpr": "TPR at the target FPR", "val_auc": "AUC"}, 1.0),
    ]
    blocks = []
    for title, unit, columns, top in groups:
        lines = []
        for number, (column, name) in enumerate(columns.items()):
            part = history.select("step", column).drop_nulls() if column in history.columns else history.clear()
            if len(part):
                part = part.cast(polars.Float64)
                values = part[column].to_list() if column.startswith("val_") else _smooth(part[column].to_numpy())
                lines.append(figures.Series(name, part["step"].to_list(), values, f"s{number}"))
        if lines:
            high = top or max(max(line.y) for line in lines) * 1.05 or 1.0
            last = float(history["step"].max() or 1)  # type: ignore[arg-type]
            x, y = figures.Axis("step", 0, last), figures.Axis(unit, 0.0, high)
            blocks.append(f"<div><h3>{title}</h3>{figures.chart(title, x, y, lines)}{figures.legend(lines)}</div>")
    told = (
        "Healthy training: d(a,p) falls below d(a,n), and the collapse measure (the length of the mean embedding; 1 means all "
        "in one point) stays well below 1. Lines are smoothed."
    )
    return _section("Training", told, f"<div class='charts'>{''.join(blocks)}</div>") if blocks else ""


def _next(run: Path, metrics: dict[str, Any]) -> str:
    if not (run / "model.safetensors").is_file():
        return ""
    return _section(
        "Use it",
        "",
        f"<pre>triune verify {escape(str(run))} a.jpg b.jpg     # same or different?\n"
        f"triune evaluate {escape(str(run))} --data other.csv   # judge it on other images</pre>",
    )


def _configuration(run: Path) -> str:
    path = run / "config.yaml"
    if not path.is_file():
        return ""
    text = escape(path.read_text(encoding="utf-8"))
    return f"<section><details><summary>Configuration</summary><pre>{text}</pre></details></section>"


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
    return metrics


def _read_frame(run: Path) -> polars.DataFrame | None:
    path = run / "embeddings.parquet"
    return polars.read_parquet(path) if path.is_file() else None


def _read_items(run: Path) -> Items | None:
    frame = _read_frame(run)
    if frame is None:
        return None
    frame = frame.filter(polars.col("identity").is_not_null())
    for split in ("test", "val"):
        part = frame.filter(polars.col("split") == split)
        if len(part):
            part = part[_spread(len(part), 5000)]
            return Items(part, np.asarray(part["embedding"].to_list(), np.float32), part["identity"].to_numpy())
    return None


def _judged(metrics: dict[str, Any], name: str) -> tuple[str, dict[str, Any]] | None:
    """A source's verification figures, on test or, where there is none, on val."""
    splits = metrics["verification"].get(name, {})
    for split in ("test", "val"):
        if splits.get(split) and "unavailable" not in splits[split]:
            return split, splits[split]
    return None


def _section(title: str, told: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{f'<p>{told}</p>' if told else ''}{body}</section>"


def _card(name: str, value: str, text: str, *, big: bool = False) -> str:
    return f"<div class='card{' big' if big else ''}'><h2>{name}</h2><p class='value'>{value}</p><p>{text}</p></div>"


def _cells(shares: Sequence[Any]) -> str:
    return "".join(f"<td>{_percent(share)}</td>" for share in shares)


def _staircase(roc: dict[str, list[float]]) -> tuple[list[float], list[float]]:
    """A ROC's points as the steps it is made of."""
    xs, ys = [roc["fpr"][0]], [roc["tpr"][0]]
    for fpr, tpr in zip(roc["fpr"][1:], roc["tpr"][1:], strict=True):
        xs += [fpr, fpr]
        ys += [ys[-1], tpr]
    return xs, ys


def _distance(score: float, metric: str) -> float:
    return 1.0 - score if metric == "cosine" else -score


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _percent(share: Any) -> str:
    return f"{share * 100:.1f}%" if _is_number(share) else "–"


def _in_hundred(share: Any) -> str:
    return f"{share * 100:.0f}" if _is_number(share) else "–"


def _number(value: Any, digits: int = 3) -> str:
    return f"{value:.{digits}f}" if _is_number(value) else "–"


def _smooth(values: Array) -> list[float]:
    """A running mean over about a thirtieth of the run, which also thins it to some 300 points' worth of noise."""
    width = max(1, len(values) // 30)
    padded = np.concatenate([np.full(width - 1, values[0]), values])
    smoothed: list[float] = np.convolve(padded, np.full(width, 1 / width), mode="valid").tolist()
    return smoothed


def _spread(count: int, most: int) -> Array:
    """At most ``most`` of ``count`` places, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def _one_each(identities: Array) -> list[int]:
    """One item of each of some identities, spread over all of them."""
    _, firsts, counts = np.unique(identities, return_index=True, return_counts=True)
    usable = firsts[counts >= 2]
    return [int(usable[i]) for i in _spread(len(usable), GALLERY)] if len(usable) else []


def _varied(items: Items, pairs: HardPairs, chosen: Array) -> list[int]:
    """Of the chosen pairs, hardest first, at most one for each two identities."""
    seen: set[tuple[Any, Any]] = set()
    kept: list[int] = []
    for k in chosen.tolist():
        both = tuple(sorted((str(items.identities[pairs.first[k]]), str(items.identities[pairs.second[k]]))))
        if both not in seen and len(kept) < GALLERY:
            seen.add(both)
            kept.append(k)
    return kept


def _has_images(items: Items) -> bool:
    return Path(items.frame["image"][0]).is_file()


def _image(items: Items, index: int) -> str:
    source = _thumbnail(items.frame["image"][index], LARGE)
    name = escape(str(items.identities[index]))
    return f"<img src='{source}' alt='{name}' loading='lazy'>" if source else "<span class='gone'>image gone</span>"


def _thumbnail(path: str, side: int) -> str | None:
    image = _open(path)
    if image is None:
        return None
    image.thumbnail((side, side))
    if max(image.size) < side:
        scale = max(1, side // max(image.size))
        image = image.resize((image.width * scale, image.height * scale), Image.Resampling.BICUBIC)
    return _encoded(image)


def _overlay(path: str, mask: str | Path) -> str | None:
    image, ids = _open(path), _open(mask, "L")
    if image is None or ids is None:
        return None
    size = (LARGE, max(1, round(LARGE * image.height / image.width)))
    pixels = np.asarray(image.resize(size), dtype=np.float32)
    inside = np.asarray(ids.resize(size, Image.Resampling.NEAREST))
    tint = np.zeros_like(pixels)
    for number, colour in enumerate(((0, 158, 115), (230, 159, 0), (86, 180, 233), (204, 121, 167)), start=1):
        tint[inside == number] = colour
    covered = ((inside > 0) & (inside < 255))[..., None]
    return _encoded(Image.fromarray(np.where(covered, 0.5 * pixels + 0.5 * tint, pixels).astype(np.uint8)))


def _sprite_sheet(paths: Sequence[str]) -> tuple[str | None, int]:
    """All thumbnails in one picture, row by row, and how many are in a row."""
    columns = max(1, math.isqrt(len(paths) - 1) + 1)
    sheet = Image.new("RGB", (columns * THUMB, -(-len(paths) // columns) * THUMB), "white")
    found = False
    for place, path in enumerate(paths):
        image = _open(path)
        if image is not None:
            found = True
            sheet.paste(image.resize((THUMB, THUMB)), (place % columns * THUMB, place // columns * THUMB))
    return (_encoded(sheet, quality=70) if found else None), columns


def _open(path: str | Path, mode: str = "RGB") -> Image.Image | None:
    try:
        with Image.open(path) as file:
            return file.convert(mode)
    except (OSError, UnidentifiedImageError, ValueError):
        return None


def _encoded(image: Image.Image, quality: int = 85) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
