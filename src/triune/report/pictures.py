"""The report's sections of images: embedding map, neighbours, hardest triplets, mistakes, masks."""

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars

from triune.distances.embeddings import Metric
from triune.distances.pairwise import paired_distance
from triune.losses.mining import mine_triplets
from triune.report.embedding_map import embedding_map
from triune.report.markup import Scale, Section, count, is_number, number, percent, plural
from triune.report.thumbnails import mask_overlap, overlay, sheet, thumbnail
from triune.retrieval.neighbours import top_k
from triune.verification.hardest import HardPairs, hardest_pairs

Array = np.ndarray[Any, Any]


MOST_ITEMS = 4000


MAP_POINTS = 1000


MAP_COLOURS, MAP_SHAPES = 10, 4


MAP_NAMES = 24


SHOWN = 6


NEIGHBOURS = 6


MASKS = 8


SEARCHED_PAIRS = 2000


class Items(NamedTuple):
    """The judged items that have an embedding and an identity.

    Args:
        frame: their rows of ``embeddings.parquet``.
        embeddings: ``(N, D)`` float32.
        identities: ``(N,)`` strings.
        split: the split they are of, ``test`` or ``val``.
        metric: the distance.
    """

    frame: polars.DataFrame
    embeddings: Array
    identities: Array
    split: str
    metric: Metric

    def image(self, index: int) -> str:
        """The image as an HTML element, or a note that its file is gone."""
        source = thumbnail(self.frame["image"][index])
        name = escape(f"image of {self.identities[index]}")
        if source is None:
            return "<span class='gone'>image not found</span>"
        return f"<img src='{source}' alt='{name}' loading='lazy'>"

    def name(self, index: int) -> str:
        """The identity, for the page."""
        return escape(str(self.identities[index]))

    def of_split(self) -> str:
        """How the split is called in a sentence."""
        return "test" if self.split == "test" else "validation"

    def have_images(self) -> bool:
        """Whether image files are there to be shown."""
        places = spread(len(self.frame), 5)
        return any(Path(self.frame["image"][int(i)]).is_file() for i in places)


def read_items(run: Path, metric: Metric) -> Items | None:
    """The test items, or the validation items where there are none; ``None`` without ``embeddings.parquet``."""
    path = run / "embeddings.parquet"
    if not path.is_file():
        return None
    frame = polars.read_parquet(path).filter(polars.col("identity").is_not_null())
    for split in ("test", "val"):
        part = frame.filter(polars.col("split") == split)
        if len(part):
            part = part[spread(len(part), MOST_ITEMS)]
            embeddings = np.asarray(part["embedding"].to_list(), np.float32)
            whole = np.flatnonzero(np.isfinite(embeddings).all(axis=1))
            part, embeddings = part[whole], embeddings[whole]
            return Items(part, embeddings, part["identity"].cast(polars.String).to_numpy(), split, metric)
    return None


def spread(size: int, most: int) -> Array:
    """At most ``most`` of ``size`` places, evenly spread."""
    return np.unique(np.linspace(0, size - 1, min(size, most)).round().astype(int)) if size else np.empty(0, int)


def map_section(items: Items | None) -> Section | None:
    """The embeddings on a plane, coloured by identity, each with its image on hover."""
    if items is None or len(items.identities) < 3:
        return None
    chosen = spread(len(items.identities), MAP_POINTS)
    places = embedding_map(items.embeddings[chosen])
    names, codes = np.unique(items.identities[chosen], return_inverse=True)
    pictures = sheet([items.frame["image"][int(i)] for i in chosen])
    side, margin = 640, 22
    at = margin + np.stack([places[:, 0], 1 - places[:, 1]], axis=1) * (side - 2 * margin)
    dots = "".join(
        f'<path class="dot c{code % MAP_COLOURS}" d="{_shape(code)}" transform="translate({x:.1f} {y:.1f})"'
        f' data-n="{code}"/>'
        for (x, y), code in zip(at, codes.tolist(), strict=True)
    )
    facts = {"names": names.tolist(), "thumb": pictures.side if pictures else 0}
    facts["columns"] = pictures.columns if pictures else 0
    style = f' style="--sheet:url({pictures.source})"' if pictures else ""
    keys = ""
    if len(names) <= MAP_NAMES:
        keys = "".join(
            f'<li><button type="button" aria-pressed="false" data-n="{code}"><svg viewBox="-8 -8 16 16" '
            f'aria-hidden="true"><path class="dot c{code % MAP_COLOURS}" d="{_shape(code)}"/></svg>'
            f"{escape(str(name))}</button></li>"
            for code, name in enumerate(names.tolist())
        )
    told = (
        f"{plural(len(chosen), items.of_split() + ' image')} of {plural(len(names), 'identity', 'identities')}. Near "
        "means similar; the distance between far groups means nothing (t-SNE). "
    )
    told += "Point at a dot to see its image." if pictures else "Point at a dot to see its identity."
    switch = "<button type='button' class='switch' aria-pressed='false' hidden>Show images</button>" if pictures else ""
    label = f"Map of {len(chosen)} embeddings, coloured by identity. Arrow keys go from dot to dot."
    body = (
        f"<div class='map' data-facts='{escape(json.dumps(facts))}'{style}>{switch}"
        f"<div class='plane' tabindex='0' role='group' aria-label='{label}'>"
        f'<svg viewBox="0 0 {side} {side}" aria-hidden="true">{dots}</svg><canvas hidden></canvas>'
        f"<div class='tip' role='status' hidden><span class='thumb'></span><span class='name'></span></div></div>"
        f"<ul class='names' aria-label='identities'>{keys}</ul></div>"
    )
    return Section("map", "Embedding map", told, body)


def neighbours_section(items: Items | None) -> Section | None:
    """Sample queries with the items closest to them."""
    if items is None or not items.have_images() or len(items.identities) < 3:
        return None
    queries = _one_each(items.identities)
    if not queries:
        return None
    scores, order = top_k(items.embeddings[queries], items.embeddings, NEIGHBOURS + 1, items.metric)
    scale, rows = Scale(items.metric), []
    for query, found, closeness in zip(queries, order.tolist(), scores.tolist(), strict=True):
        others = [(j, s) for j, s in zip(found, closeness, strict=True) if j != query][:NEIGHBOURS]
        cells = _figure(items, query, "query", "<b>query</b>")
        for j, score in others:
            right = items.identities[j] == items.identities[query]
            mark = "<b class='yes'>✓</b>" if right else "<b class='no'>✗</b>"
            cells += _figure(items, j, "right" if right else "wrong", f"{mark} {number(scale.shown(score))}")
        rows.append(f"<div class='row'>{cells}</div>")
    told = (
        f"For a sample of queries, the most similar {items.of_split()} images and their distance. "
        "<b class='yes'>✓</b> same identity, <b class='no'>✗</b> another."
    )
    return Section("neighbours", "Nearest neighbours", told, f"<div class='rows'>{''.join(rows)}</div>")


def triplets_section(items: Items | None) -> Section | None:
    """The anchors whose farthest positive lies most beyond their closest negative."""
    if items is None or not items.have_images():
        return None
    mined = mine_triplets(items.embeddings, items.identities, "batch_hard", metric=items.metric)
    anchor, positive, negative = (part.cpu().numpy() for part in mined)
    if not len(anchor):
        return None
    far, near = _between(items, anchor, positive), _between(items, anchor, negative)
    rows: list[str] = []
    order = np.argsort(near - far, kind="stable").tolist()
    for k in _varied(order, [str(items.identities[anchor[k]]) for k in order], SHOWN):
        cells = _figure(items, int(anchor[k]), "query", "<b>anchor</b>")
        cells += _figure(items, int(positive[k]), "right", f"<b>positive</b> {number(float(far[k]))}")
        cells += _figure(items, int(negative[k]), "wrong", f"<b>negative</b> {number(float(near[k]))}")
        rows.append(f"<div class='triplet'>{cells}</div>")
    told = (
        "An anchor, its farthest image of the same identity (positive) and its closest image of another (negative), "
        "with their distances from it, spread over the identities. Wrong labels show up here first."
    )
    return Section("triplets", "Hardest triplets", told, f"<div class='triplets'>{''.join(rows)}</div>")


def mistakes_section(items: Items | None, metrics: dict[str, Any]) -> Section | None:
    """The pairs that the threshold gets most wrong."""
    point = metrics.get("operating_point") or {}
    if items is None or not items.have_images() or not is_number(point.get("threshold")):
        return None
    closest, farthest = hardest_pairs(items.embeddings, items.identities, metric=items.metric, k=SEARCHED_PAIRS)
    counts = point.get(items.split) or {}
    told = (
        f"The worst mistakes on {items.of_split()} pairs, spread over the identities. Is a label wrong? "
        "Is the difference one the training images never show?"
    )
    accepted = np.flatnonzero(closest.score >= point["threshold"])
    rejected = np.flatnonzero(farthest.score < point["threshold"])
    body = _mistakes(items, closest, accepted, "Different, but accepted", "fp", ("fp", "tn"), counts)
    body += _mistakes(items, farthest, rejected, "Same, but rejected", "fn", ("fn", "tp"), counts)
    return Section("mistakes", "Mistakes at the threshold", told, body)


def masks_section(run: Path, metrics: dict[str, Any]) -> Section | None:
    """True and predicted masks side by side."""
    found = metrics.get("segmentation")
    if not found:
        return None
    if "unavailable" in found:
        return Section("masks", "Masks", f"Not measured: {escape(str(found['unavailable']))}.", "")
    told = (
        f"Over {plural(found['items'], escape(str(found['split'])) + ' image')} the predicted mask overlaps the true "
        f"one with an IoU of <b>{number(found['iou'])}</b> (Dice {number(found['dice'])}); 1 is perfect."
    )
    parts = found.get("per_channel") or []
    if len(parts) > 1:
        told += " By mask id: " + ", ".join(f"{i}: {number(share)}" for i, share in enumerate(parts)) + "."
    cells = _mask_pairs(run)
    return Section("masks", "Masks", told, f"<div class='gallery wide-pairs'>{''.join(cells)}</div>" if cells else "")


def _mask_pairs(run: Path) -> list[str]:
    path = run / "embeddings.parquet"
    if not path.is_file() or not (run / "masks").is_dir():
        return []
    predicted = {int(file.stem): file for file in (run / "masks").glob("*.png") if file.stem.isdigit()}
    frame = polars.read_parquet(path, columns=["row", "image", "mask", "identity"])
    frame = frame.filter(polars.col("row").is_in(list(predicted)) & polars.col("mask").is_not_null())
    cells = []
    for row in frame[spread(len(frame), MASKS)].iter_rows(named=True):
        file = predicted[row["row"]]
        true_one, found = overlay(row["image"], row["mask"]), overlay(row["image"], file)
        if true_one is None or found is None:
            continue
        name = escape(str(row["identity"]))
        overlap = mask_overlap(row["mask"], file)
        score = f" <span>IoU {number(overlap)}</span>" if overlap is not None else ""
        cells.append(
            f"<figure class='pair'><img src='{true_one}' alt='{name} with its true mask' loading='lazy'>"
            f"<img src='{found}' alt='{name} with the predicted mask' loading='lazy'>"
            f"<figcaption><span>true · predicted</span>{score}</figcaption></figure>"
        )
    return cells


def _mistakes(
    items: Items,
    pairs: HardPairs,
    chosen: Array,
    title: str,
    kind: str,
    of: Sequence[str],
    counts: dict[str, Any],
) -> str:
    """One gallery of pairs."""
    scale = Scale(items.metric)
    cells: list[str] = []
    rows = [(int(pairs.first[k]), int(pairs.second[k])) for k in chosen.tolist()]
    kinds = ["\n".join(sorted((str(items.identities[i]), str(items.identities[j])))) for i, j in rows]
    for k in _varied(chosen.tolist(), kinds, SHOWN):
        i, j = int(pairs.first[k]), int(pairs.second[k])
        names = f"{items.name(i)} · {items.name(j)}" if kind == "fp" else f"both {items.name(i)}"
        cells.append(
            f"<figure class='pair'>{items.image(i)}{items.image(j)}<figcaption><span>{names}</span> "
            f"<span>{number(scale.shown(float(pairs.score[k])))}</span></figcaption></figure>"
        )
    told = ""
    if is_number(counts.get(kind)):
        total = sum(counts[name] for name in of)
        share = percent(counts[kind] / total) if total else "–"
        told = f" <small>{count(counts[kind])} of {count(total)} pairs, {share}</small>"
    gallery = f"<div class='gallery'>{''.join(cells)}</div>" if cells else "<p>None.</p>"
    return f"<h3>{title}{told}</h3>{gallery}"


def _varied(ordered: Sequence[int], kinds: Sequence[str], most: int) -> list[int]:
    """The first ``most`` of what is ordered, kept in order, with every kind served before any is served once more."""
    turns: dict[str, int] = {}
    ranked = []
    for place, kind in enumerate(kinds):
        turns[kind] = turns.get(kind, -1) + 1
        ranked.append((turns[kind], place))
    return [ordered[place] for place in sorted(place for _, place in sorted(ranked)[:most])]


def _figure(items: Items, index: int, role: str, caption: str) -> str:
    return (
        f"<figure class='{role}'>{items.image(index)}<figcaption><span>{caption}</span>"
        f"<span class='who'>{items.name(index)}</span></figcaption></figure>"
    )


def _between(items: Items, first: Array, second: Array) -> Array:
    distances: Array = paired_distance(items.embeddings[first], items.embeddings[second], items.metric).cpu().numpy()
    return distances


def _one_each(identities: Array) -> list[int]:
    """One item each of some identities that have a second one, spread over all of them."""
    _, firsts, counts = np.unique(identities, return_index=True, return_counts=True)
    usable = firsts[counts >= 2]
    chosen = [int(usable[i]) for i in spread(len(usable), SHOWN)]
    if 0 < len(chosen) < 4:
        # Few identities: a second query of each, from the other end of the table.
        lasts = [int(np.flatnonzero(identities == identities[i])[-1]) for i in chosen]
        chosen = [index for both in zip(chosen, lasts, strict=True) for index in dict.fromkeys(both)]
    return chosen


def _shape(code: int) -> str:
    """Identities beyond the tenth repeat a colour in another shape: disc, square, triangle, diamond."""
    shapes = (
        "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0",
        "M-4.4 -4.4h8.8v8.8h-8.8z",
        "M0 -5.6L5.4 4.2H-5.4z",
        "M0 -6.2L6.2 0L0 6.2L-6.2 0z",
    )
    return shapes[code // MAP_COLOURS % MAP_SHAPES]
