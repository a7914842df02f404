"""The report's sections of numbers and curves: headline, cautions, ROC, threshold, retrieval, classes, training."""

import json
import math
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import polars

from triune.evaluation.measures import NAMES
from triune.report import charts
from triune.report.markup import Scale, Section, budget, count, in_hundred, is_number, number, percent, plural, table

Array = np.ndarray[Any, Any]


STYLES = {"trained": "s0", "pixels": "s1"}


FEW_IDENTITIES = 10


MATRIX_CLASSES = 24


CURVES = (
    (
        "Losses",
        "loss",
        {"train_classification": "classes", "train_segmentation": "masks", "train_triplet": "triplets"},
    ),
    (
        "Distances in triplets",
        "mean distance",
        {"train_positive_distance": "d(a,p)", "train_negative_distance": "d(a,n)"},
    ),
    ("Triplet health", "share", {"train_active_share": "active triplets", "train_collapse": "collapse"}),
    ("Validation", "share", {"val_tpr": "TPR", "val_auc": "AUC"}),
)


def judged(metrics: dict[str, Any], name: str) -> tuple[str, dict[str, Any]] | None:
    """A source's verification figures and their split: test, or val where test has none."""
    splits = metrics.get("verification", {}).get(name) or {}
    for split in ("test", "val"):
        if splits.get(split) and "unavailable" not in splits[split]:
            return split, splits[split]
    return None


def sources(metrics: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The trained embedding and the baselines that were judged, the trained one first."""
    names = sorted(metrics.get("verification", {}), key=lambda name: name != "trained")
    return [(name, found[1]) for name in names if (found := judged(metrics, name)) is not None]


def headline(metrics: dict[str, Any]) -> str:
    """The first screen: what the numbers mean in words, beside the baselines."""
    drawn, point = sources(metrics), {}
    hero = ""
    if drawn and drawn[0][0] == "trained":
        point = drawn[0][1]["tpr_at_fpr"]["0.05"]
        interval = (drawn[0][1].get("interval") or {}).get("0.05")
        sure = f"<p class='sure'>95% interval: {percent(interval[0])} to {percent(interval[1])}</p>" if interval else ""
        doubt = "" if point["reliable"] else f"<p class='sure'>Not to be leaned on: {escape(str(point['reason']))}.</p>"
        bars = "".join(
            f"<li class='{_style(name)}'><span class='who'>{_named(name)}</span><span class='bar'>"
            f"<i style='width:{100 * min(1, max(0, f['tpr_at_fpr']['0.05']['tpr'])):.2f}%'></i></span>"
            f"<span class='value'>{percent(f['tpr_at_fpr']['0.05']['tpr'])}</span></li>"
            for name, f in drawn
        )
        hero = (
            f"<div class='hero'><div><p class='label'>TPR at FPR 5%</p><p class='big'>{percent(point['tpr'])}</p>"
            f"<p>At a threshold that wrongly accepts 5 of 100 different pairs, <b>{in_hundred(point['tpr'])}</b> "
            f"same pairs are recognised.</p>{sure}{doubt}</div><ul class='bars' "
            f"aria-label='TPR at FPR 5% of this model and of the baselines'>{bars}</ul></div>"
        )
    cards = _cards(metrics, drawn[0][1] if hero else None)
    inside = f"{hero}{f'<dl class=cards>{cards}</dl>' if cards else ''}"
    return f"<section class='headline' aria-label='Headline numbers'>{inside}</section>" if inside else ""


def cautions(metrics: dict[str, Any]) -> str:
    """What a reader should know before leaning on the numbers; empty where there is nothing to say."""
    found = _cautions(metrics)
    if not found:
        return ""
    items = "".join(f"<li>{text}</li>" for text in found)
    return (
        f"<section class='care' aria-labelledby='h-care'><h2 id='h-care'>Read with care</h2><ul>{items}</ul></section>"
    )


def roc_section(metrics: dict[str, Any]) -> Section | None:
    """The ROC on two axes, with the operating points, beside the baselines and chance."""
    drawn = sources(metrics)
    if not drawn:
        return None
    name, main = drawn[0]
    scale = Scale(str(metrics["metric"]))
    low = 10.0 ** max(-6, math.floor(math.log10(1 / max(10, main["impostors"]))))
    drawings = []
    lines: list[charts.Series] = []
    for log in (False, True):
        x = charts.Axis("false-positive rate: different pairs accepted", low if log else 0.0, 1.0, log, True)
        y = charts.Axis("true-positive rate: same pairs recognised", 0.0, 1.0, percent=True)
        grid = np.geomspace(low, 1, 60).tolist() if log else [0.0, 1.0]
        lines = [charts.Series("chance", grid, grid, "chance")]
        for other, f in reversed(drawn):
            curve = charts.staircase(f["roc"]["fpr"], f["roc"]["tpr"])
            lines.append(charts.Series(_named(other), *curve, _style(other)))
        marks = [
            charts.Mark(f"{percent(p['tpr'])} at {budget(fpr)}", p["fpr"], p["tpr"])
            for fpr, p in main["tpr_at_fpr"].items()
            if log or fpr == "0.05"
        ]
        title = f"ROC curve with a {'logarithmic' if log else 'linear'} false-positive axis"
        drawings.append(charts.chart(title, x, y, lines, marks, "roc"))
    heads = ["", *(f"TPR at {budget(fpr)}" for fpr in main["tpr_at_fpr"]), "AUC", "EER"]
    rows = []
    for other, f in drawn:
        sure = f.get("interval") or {}
        cells = [
            percent(p["tpr"]) + ("" if p["reliable"] else _doubt(p)) + _interval(sure.get(fpr), percent)
            for fpr, p in f["tpr_at_fpr"].items()
        ]
        rows.append((_named(other), [*cells, number(f["auc"]) + _interval(sure.get("auc"), number), percent(f["eer"])]))
    split = (judged(metrics, name) or ("test", {}))[0]
    between = " Small figures are 95% intervals." if any(f.get("interval") for _, f in drawn) else ""
    told = (
        f"Of all {split} pairs, {count(main['matches'])} match and {count(main['impostors'])} do not. A curve further "
        "up and to the left is better. AUC: how often a same pair is closer than a different one. EER: the error rate "
        f"where both kinds of mistake are equally frequent.{between}"
    )
    toggle = (
        "<input type='radio' name='roc' id='roc-lin' checked><label for='roc-lin'>linear</label>"
        "<input type='radio' name='roc' id='roc-log'><label for='roc-log'>logarithmic</label>"
    )
    body = (
        f"<fieldset class='toggle'><legend>False-positive axis</legend>{toggle}<div class='duo'><div>"
        f"<figure class='view lin'>{drawings[0]}</figure><figure class='view log'>{drawings[1]}</figure></div>"
        f"<div>{charts.legend(lines[::-1])}<p class='readout' id='roc-readout'></p></div></div></fieldset>"
        f"{table(heads, rows, 'Verification of this model and of the baselines')}"
    )
    return Section("verification", "Same or different", told, body + _curve_data(main, scale, metrics))


def threshold_section(metrics: dict[str, Any]) -> Section | None:
    """Distances of matching and other pairs with the threshold, and what it does on val and on test."""
    found, point = judged(metrics, "trained"), metrics.get("operating_point") or {}
    scale = Scale(str(metrics["metric"]))
    histogram = found[1].get("histogram") if found else None
    if not histogram and not point:
        return None
    told, body = "", ""
    if "unavailable" in point:
        told = f"No threshold was fitted: {escape(str(point['unavailable']))}."
    elif point:
        told = (
            f"Two images are called the same at a {scale.name} of at most <b>{number(point['distance'], 4)}</b>. "
            f"It was chosen on validation pairs for a false-positive rate of {budget(point['target_fpr'])}, then "
            "applied unchanged to the test pairs. "
        )
    if histogram:
        told += " The less the two hills overlap, the fewer mistakes."
        body += _histogram(histogram, point, scale)
    if is_number(point.get("threshold")):
        body += _confusions(point)
    return Section("threshold", "Distances and threshold", told.strip(), body)


def retrieval_section(metrics: dict[str, Any]) -> Section | None:
    """Recall@K and the other figures of search."""
    kept = {name: r for name, r in (metrics.get("retrieval") or {}).items() if r and "recall_at" in r}
    if not kept:
        return None
    first = next(iter(kept.values()))
    ks = list(first["recall_at"])
    rows = [
        (
            _named(name),
            [
                *(percent(r["recall_at"].get(k)) for k in ks),
                percent(r["map_at_r"]),
                percent(r["r_precision"]),
                number(r["mrr"]),
            ],
        )
        for name, r in kept.items()
    ]
    left = f" {plural(first['left_out'], 'image')} without a second one are left out." if first["left_out"] else ""
    told = (
        f"{plural(first['queries'], 'test image')}, each looking for its own identity among all the others.{left} "
        "Recall@K: a right one is among the first K. MAP@R: how purely the right ones come first."
    )
    heads = ["", *(f"Recall@{k}" for k in ks), "MAP@R", "R-precision", "MRR"]
    return Section("search", "Search", told, table(heads, rows, "Retrieval of this model and of the baselines"))


def classes_section(metrics: dict[str, Any]) -> Section | None:
    """Accuracy and the confusion matrix of the class head."""
    found = metrics.get("classification")
    if not found:
        return None
    if "unavailable" in found:
        return Section("classes", "Classes", f"Not measured: {escape(str(found['unavailable']))}.", "")
    images = plural(found["items"], escape(str(found["split"])) + " image")
    told = f"<b>{percent(found['accuracy'])}</b> of {images} are put in the right class."
    if found["split"] == "holdout":
        told += (
            " These are images of trained identities, kept out of training, since the test split has none of the "
            "trained classes."
        )
    names, confusion = [str(name) for name in found["classes"]], np.asarray(found["confusion"])
    if len(names) > MATRIX_CLASSES:
        return Section("classes", "Classes", told, _top_confusions(names, confusion))
    totals = np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    rows = []
    for i, name in enumerate(names):
        cells = []
        for j, share in enumerate((confusion[i] / totals[i]).tolist()):
            style = f"{'hit' if i == j else 'miss'}{' strong' if share > 0.55 else ''}"
            cells.append(f"<span class='{style}' style='--share:{share:.3f}'>{confusion[i, j] or '·'}</span>")
        rows.append((escape(name), cells))
    heads = ["true ↓ predicted →", *(escape(name) for name in names)]
    return Section("classes", "Classes", told, table(heads, rows, "Confusion matrix: true class by row", "confusion"))


def training_section(run: Path, metrics: dict[str, Any]) -> Section | None:
    """Loss curves, triplet health and validation over the steps."""
    history = _history(run)
    if history is None:
        return None
    facts = metrics.get("training") or {}
    best = facts.get("best_epoch")
    target = (metrics.get("operating_point") or {}).get("target_fpr")
    blocks = []
    for title, unit, columns in CURVES:
        lines = []
        for place, (column, name) in enumerate(columns.items()):
            steps, values = _column(history, column)
            if not len(values):
                continue
            label = f"TPR at FPR {budget(target)}" if name == "TPR" and target else name
            if len(values) > 40:
                lines.append(charts.Series("", steps, values, f"s{place} faint"))
                values = _smooth(np.asarray(values))
            lines.append(charts.Series(label, steps, values, f"s{place}"))
        if not lines:
            continue
        high = 1.0 if unit == "share" else max(max(line.y) for line in lines) * 1.05 or 1.0
        last = float(history["step"].cast(polars.Float64).max() or 1)  # type: ignore[arg-type]
        marks = []
        if title == "Validation" and is_number(best):
            ends = history.filter(polars.col("epoch") < best)["step"]
            marks = [charts.Mark(f"kept: epoch {best}", float(ends.max() or 0), None, low=True)]  # type: ignore[arg-type]
        x, y = charts.Axis("step", 0, last), charts.Axis(unit, 0.0, high, percent=unit == "share")
        picture = charts.chart(f"{title} over the steps of training", x, y, lines, marks)
        blocks.append(f"<figure><h3>{title}</h3>{picture}{charts.legend(lines)}</figure>")
    if not blocks:
        return None
    told = _training_facts(facts) + (
        "Healthy training: d(a,p) falls below d(a,n), some triplets stay active, and collapse stays well below 100% "
        "(at 100% every image has the same embedding)."
    )
    return Section("training", "Training", told, f"<div class='charts'>{''.join(blocks)}</div>")


def data_section(metrics: dict[str, Any]) -> Section | None:
    """How many images and identities each split has."""
    splits = metrics["data"].get("splits") or {}
    if not splits:
        return None
    names = {
        "train": "train",
        "val": "validation",
        "test": "test",
        "holdout": "holdout <small>trained identities</small>",
    }
    rows = [
        (names.get(split, escape(split)), [count(c.get(key)) for key in ("images", "identities", "classes")])
        for split, c in splits.items()
    ]
    heads = ["split", "images", "identities", "classes"]
    return Section("data", "Data", split_in_words(metrics), table(heads, rows, "Images and identities of each split"))


def split_in_words(metrics: dict[str, Any]) -> str:
    """Which split was used and what that means."""
    data = metrics["data"]
    told = {
        "open-set": "Open-set split: the identities judged here were never seen in training.",
        "closed-set": "Closed-set split: training saw other images of the identities judged here.",
        "given": "The split is the one the table gives.",
    }
    return told.get(str(data.get("split")), "") if data.get("splits") else ""


def _cards(metrics: dict[str, Any], main: dict[str, Any] | None) -> str:
    cards = []
    if main is not None:
        cards.append(("AUC", number(main["auc"]), "a same pair is closer than a different pair this often"))
        cards.append(("EER", percent(main["eer"]), "error where both kinds of mistake are equally frequent"))
    retrieval = (metrics.get("retrieval") or {}).get("trained") or {}
    if "recall_at" in retrieval:
        cards.append(("Recall@1", percent(retrieval["recall_at"].get("1")), "the most similar image is a right one"))
    masks, classes = metrics.get("segmentation") or {}, metrics.get("classification") or {}
    if "iou" in masks:
        cards.append(("Mask IoU", number(masks["iou"]), "overlap of predicted and true masks"))
    if "accuracy" in classes:
        cards.append(("Class accuracy", percent(classes["accuracy"]), "images put in the right class"))
    return "".join(
        f"<div><dt>{name}</dt><dd>{value}</dd><dd class='means'>{text}</dd></div>" for name, value, text in cards
    )


def _cautions(metrics: dict[str, Any]) -> list[str]:
    found = []
    splits = (metrics.get("verification") or {}).get("trained") or {}
    for split, f in splits.items():
        if f and "unavailable" in f:
            found.append(f"The {escape(split)} split cannot be verified: {escape(str(f['unavailable']))}.")
    drawn = sources(metrics)
    if drawn and drawn[0][0] == "trained":
        main = drawn[0][1]
        rates = [
            f"TPR at FPR {budget(fpr)}: {escape(str(p['reason']))}"
            for fpr, p in main["tpr_at_fpr"].items()
            if not p["reliable"]
        ]
        if rates:
            found.append(f"Too few pairs for {'; '.join(rates)}.")
        own = main["tpr_at_fpr"]["0.05"]["tpr"]
        better = [
            f"{_named(name)} ({percent(f['tpr_at_fpr']['0.05']['tpr'])})"
            for name, f in drawn[1:]
            if name in NAMES and f["tpr_at_fpr"]["0.05"]["tpr"] >= own
        ]
        if better:
            found.append(
                f"At FPR 5% training gave nothing: {' and '.join(better)} recognise as many same pairs as this model "
                f"({percent(own)}) or more."
            )
    point = metrics.get("operating_point") or {}
    test, target = point.get("test"), point.get("target_fpr")
    if test and is_number(test.get("fpr")) and is_number(target) and not target / 2 <= test["fpr"] <= target * 1.5:
        way = "lets more through" if test["fpr"] > target else "is stricter"
        found.append(
            f"On test pairs the threshold {way}: it accepts {percent(test['fpr'])} of the different ones, "
            f"not {budget(target)}. More validation identities make it steadier."
        )
    judged_split = metrics["data"].get("splits", {}).get("test") or {}
    identities = judged_split.get("identities")
    if is_number(identities) and 0 < identities < FEW_IDENTITIES:
        found.append(
            f"Only {plural(identities, 'identity', 'identities')} in the test split: others may fare differently."
        )
    if metrics["data"].get("split") == "closed-set":
        found.append("Training saw the test identities: the figures do not hold for new ones.")
    return found


def _histogram(histogram: dict[str, Any], point: dict[str, Any], scale: Scale) -> str:
    edges = [scale.shown(e) for e in histogram["edges"]]
    matches, impostors = histogram["matches"], histogram["impostors"]
    if edges[0] > edges[-1]:
        edges, matches, impostors = edges[::-1], matches[::-1], impostors[::-1]
    lines = [
        charts.Series("same identity", *charts.steps(edges, matches), "s0", True),
        charts.Series("different identities", *charts.steps(edges, impostors), "s1", True),
    ]
    marks = [charts.Mark("threshold", point["distance"], None)] if is_number(point.get("distance")) else []
    x = charts.Axis(scale.name, edges[0], edges[-1])
    y = charts.Axis("share of pairs", 0.0, max(max(line.y) for line in lines) * 1.1, percent=True)
    picture = charts.chart("Distances of same and of different pairs", x, y, lines, marks, "distances")
    start = point["distance"] if is_number(point.get("distance")) else (edges[0] + edges[-1]) / 2
    slider = (
        f"<div class='explore' hidden><label for='at'>Try another threshold</label><input type='range' id='at' "
        f"min='{edges[0]:.5g}' max='{edges[-1]:.5g}' step='any' value='{start:.6f}'>"
        f"<output for='at'></output></div>"
    )
    return f"<div class='duo'><figure>{picture}</figure><div>{charts.legend(lines)}{slider}</div></div>"


def _confusions(point: dict[str, Any]) -> str:
    parts = []
    for split, name, note in (("val", "Validation", "where it was chosen"), ("test", "Test", "where it was applied")):
        c = point.get(split)
        if not c:
            continue
        rows = [
            (
                "same",
                [
                    f"<b class='hit'>{count(c['tp'])}</b><small>TP</small>",
                    f"<b class='miss'>{count(c['fn'])}</b><small>FN</small>",
                ],
            ),
            (
                "different",
                [
                    f"<b class='miss'>{count(c['fp'])}</b><small>FP</small>",
                    f"<b class='hit'>{count(c['tn'])}</b><small>TN</small>",
                ],
            ),
        ]
        rates = "".join(
            f"<div><dt>{key}</dt><dd>{percent(c[field])}</dd></div>"
            for key, field in (("TPR", "tpr"), ("FPR", "fpr"), ("precision", "precision"), ("accuracy", "accuracy"))
        )
        grid = table(["pairs", "accepted", "rejected"], rows, f"{name} pairs at the threshold", "square")
        parts.append(f"<div><h3>{name} <small>{note}</small></h3>{grid}<dl class='rates'>{rates}</dl></div>")
    told = (
        "<p class='told'>TPR = TP / (TP + FN): same pairs recognised. FPR = FP / (FP + TN): different pairs wrongly "
        "accepted. Precision: accepted pairs that are the same.</p>"
    )
    return f"<div class='squares'>{''.join(parts)}</div>{told}" if parts else ""


def _top_confusions(names: list[str], confusion: Array) -> str:
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:12]
    pairs = [(int(k) // len(names), int(k) % len(names)) for k in order]
    rows = [(escape(names[i]), [escape(names[j]), count(wrong[i, j])]) for i, j in pairs if wrong[i, j]]
    return table(["true class", "taken for", "times"], rows, "The most frequent confusions") if rows else ""


def _training_facts(facts: dict[str, Any]) -> str:
    said = [
        plural(facts[key], one) for key, one in (("epochs", "epoch"), ("steps", "step")) if is_number(facts.get(key))
    ]
    seconds = facts.get("seconds")
    if is_number(seconds):
        said.append(f"{seconds / 60:.1f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds")
    if is_number(facts.get("seed")):
        said.append(f"seed {facts['seed']}")
    kept = f" The weights kept are those of epoch {facts['best_epoch']}." if is_number(facts.get("best_epoch")) else ""
    return f"{', '.join(said)}.{kept} " if said else ""


def _history(run: Path) -> polars.DataFrame | None:
    path = run / "history.csv"
    try:
        history = polars.read_csv(path, infer_schema_length=None)
    except (OSError, polars.exceptions.PolarsError):
        return None
    return history if len(history) > 1 and {"step", "epoch"} <= set(history.columns) else None


def _column(history: polars.DataFrame, name: str) -> tuple[list[float], list[float]]:
    """The steps that have a value, and the values."""
    if name not in history.columns:
        return [], []
    part = history.select(polars.col("step", name).cast(polars.Float64, strict=False)).drop_nulls()
    part = part.filter(polars.col(name).is_finite())
    return part["step"].to_list(), part[name].to_list()


def _smooth(values: Array) -> list[float]:
    """The mean of a window around each value, narrower at both ends."""
    half = max(1, len(values) // 40)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    low, high = np.maximum(places - half, 0), np.minimum(places + half + 1, len(values))
    smoothed: list[float] = ((sums[high] - sums[low]) / (high - low)).tolist()
    return smoothed


def _curve_data(main: dict[str, Any], scale: Scale, metrics: dict[str, Any]) -> str:
    """The curve for the page's script: what the pointer and the threshold slider read out."""
    roc, point = main["roc"], metrics.get("operating_point") or {}
    points = list(zip(roc["fpr"], roc["tpr"], roc["threshold"], strict=True))
    if is_number(point.get("threshold")) and point.get("test"):
        # The stored curve is thinned; with the fitted point in it, both places of the page say the same of it.
        points.append((point["test"]["fpr"], point["test"]["tpr"], point["threshold"]))
    points = sorted((p for p in points if is_number(p[2])), key=lambda p: (p[0], p[1]))
    data = {
        "fpr": [round(fpr, 6) for fpr, _, _ in points],
        "tpr": [round(tpr, 5) for _, tpr, _ in points],
        "at": [round(scale.shown(score), 6) for _, _, score in points],
    }
    text = json.dumps({**data, "name": scale.name, "closer": scale.closer}, separators=(",", ":"))
    return f"<script type='application/json' id='curve'>{text.replace('<', chr(92) + 'u003c')}</script>"


def _named(name: str) -> str:
    return NAMES.get(name, escape(name))


def _style(name: str) -> str:
    return STYLES.get(name, "s2")


def _interval(ends: Any, written: Callable[[Any], str]) -> str:
    """A 95% interval under a figure, where there is one."""
    return f"<br><small>{written(ends[0])} to {written(ends[1])}</small>" if ends else ""


def _doubt(point: dict[str, Any]) -> str:
    return f"<abbr title='{escape(str(point['reason']))}'>?</abbr>"
