"""Who is it, or nobody known? Whether the threshold of `identify` keeps the rate that was asked for.

    python benchmarks/identification.py                       # simulated identities, galleries of 10 to 1,000
    python benchmarks/identification.py --data FOLDER         # also ETH-80 and Omniglot, in FOLDER/eth80 and so on
    python benchmarks/identification.py --data FOLDER --run RUN   # also the held-out items of a trained run
    python benchmarks/identification.py --quick               # small, to see that it runs
    python benchmarks/identification.py --write PATH          # also write the tables to a Markdown file

Some identities are enrolled, others (validation) set the threshold, and yet others are the strangers whose rate counts.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import polars
import torch
from machine import described
from scipy.special import gammaln
from threshold_promise import DIMENSIONS, POPULATIONS, Population, real_sets, table
from torch.nn.functional import normalize

from triune.recognition.candidates import best_identities
from triune.recognition.strangers import StrangerScores, fpir_threshold

Array: TypeAlias = np.ndarray[Any, Any]

STRANGERS = 2000
"""Whose rate is the true one, one image each."""

WAYS_NOTE = """How the threshold is found:

- independent: pairs of validation images, as if the scores of one stranger were independent:
  FPR = 1 − (1 − FPIR)^(1/G).
- resampled: galleries of as many identities drawn from the validation ones, every such gallery counted (the chance that
  none of k identities out of V is among the G drawn is a ratio of binomial coefficients). Where there are fewer than G,
  the union bound: a gallery of G is G/V galleries of V, so that its rate is at most G/V times theirs.
- validation: the validation images against this very gallery, counted.
- ours: the same, and each enrolled identity as a stranger to the others, the stricter of the two; from the tail of the
  scores where less than one identity may be named (`triune.recognition.strangers`)."""

SIMULATED_NOTE = """{trials} galleries a line, 3 images enrolled of each identity, 5 images of each validation identity;
the rate is measured on 2,000 strangers. In brackets where nine in ten of the rates lie. DIR is the share of new images
of enrolled people that are named rightly, at our threshold."""

REAL_NOTE = """Identities are divided at random into enrolled, validation and strangers, a third each, {trials} times.
The rate is that of the strangers, with nine in ten of its values; of so few identities it scatters by itself."""

SCORE_NOTE = """An identity scores as its best row does, as the mean of its rows, or by the mean of its two
best. DIR at a rate of 5% and 10% *on the strangers themselves*, so that only the score differs."""


class Crowd(NamedTuple):
    """Images of identities ``(N, D)`` of unit length, and whose each is."""

    x: Array
    whose: Array

    def of(self, rows: Array) -> Crowd:
        return Crowd(self.x[rows], self.whose[rows])


def simulated(population: Population, identities: int, images: int, g: np.random.Generator) -> Crowd:
    centres = population.centres(identities, g)
    x = centres[:, None] + 0.5 * g.normal(size=(identities, images, DIMENSIONS))
    rows = normalize(torch.from_numpy(x.reshape(-1, DIMENSIONS)).float()).numpy()
    return Crowd(rows, np.repeat(np.arange(identities), images))


def by_identity(probes: Array, gallery: Crowd) -> Array:
    """Each probe's score with each enrolled identity, ``(P, G)``; rows of an identity stand together."""
    starts = np.flatnonzero(np.append(True, gallery.whose[1:] != gallery.whose[:-1]))
    found: Array = np.maximum.reduceat(probes @ gallery.x.T, starts, axis=1)
    return found


def validation_scores(validation: Crowd, images: int) -> Array:
    """Scores of validation images with the other validation identities, ``(P, V)``; −9 with the own one."""
    g = np.random.default_rng(3)
    enrolled = np.concatenate(
        [g.permutation(np.flatnonzero(validation.whose == one))[:images] for one in np.unique(validation.whose)]
    )
    scores = by_identity(validation.x, validation.of(enrolled))
    scores[np.arange(len(scores)), np.unique(validation.whose, return_inverse=True)[1]] = -9
    return scores


def independent(scores: Array, count: int, fpir: float) -> float:
    pairs = np.sort(scores[scores > -9])
    allowed = int((1 - (1 - fpir) ** (1 / count)) * len(pairs))
    return float(np.nextafter(pairs[-allowed - 1], np.float32(9)))


def resampled(scores: Array, count: int, fpir: float) -> float:
    others = scores.shape[1] - 1
    drawn = min(count, others)
    budget = fpir * drawn / count

    def rate(threshold: float) -> float:
        k = (scores >= threshold).sum(1)
        none = gammaln(others - k + 1) + gammaln(others - drawn + 1) - gammaln(others + 1)
        none = np.where(others - k >= drawn, none - gammaln(np.maximum(others - k - drawn, 0) + 1), -np.inf)
        return float((1 - np.exp(none)).mean())

    values = np.unique(scores[scores > -9])
    low, high = 0, len(values)  # the place of the lowest observed score that keeps the budget
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if rate(values[middle]) <= budget else (middle + 1, high)
    return float(values[low]) if low < len(values) else float(np.nextafter(values[-1], np.float32(9)))


def strangers(gallery: Crowd, validation: Crowd) -> list[StrangerScores]:
    own = gallery.of(np.arange(len(gallery.x))[:6000])
    known = best_identities(validation.x, gallery.x, gallery.whose, k=1).scores[:, 0]
    left_out = best_identities(own.x, gallery.x, gallery.whose, k=1, leave_out=own.whose).scores[:, 0]
    return [
        StrangerScores("validation", known, validation.whose),
        StrangerScores("enrolled", left_out, own.whose, exchangeable=False),
    ]


def thresholds(gallery: Crowd, validation: Crowd, fpir: float) -> tuple[dict[str, float], float]:
    """By way, and what ours promises."""
    count = len(np.unique(gallery.whose))
    scores = validation_scores(validation, len(gallery.x) // count)
    sets = strangers(gallery, validation)
    ours = fpir_threshold(sets, fpir)
    alone, _ = counted(sets[0], fpir)
    found = {
        "independent": independent(scores, count, fpir),
        "resampled": resampled(scores, count, fpir),
        "validation": alone,
        "ours": ours.threshold,
    }
    assert ours.promised_fpir is not None
    return found, ours.promised_fpir


def counted(known: StrangerScores, fpir: float) -> tuple[float, float]:
    """The lowest score that keeps the rate on these strangers, and the rate."""
    order = np.argsort(-known.scores)
    _, place, images = np.unique(known.identities, return_inverse=True, return_counts=True)
    rates = np.cumsum(1 / (len(images) * images[place[order]]))
    kept = int(np.searchsorted(rates, fpir + 1e-12, side="right"))
    return float(np.nextafter(known.scores[order][kept], np.float32(9))), float(rates[kept])


def shown(rates: list[float]) -> str:
    low, high = np.quantile(rates, [0.05, 0.95])
    return f"{np.mean(rates):.3f} [{low:.3f}–{high:.3f}]"


def simulated_rows(trials: int, fpir: float) -> list[list[str]]:
    rows = []
    for population in POPULATIONS:
        g = np.random.default_rng(5)
        for known in (8, 30, 120, 300):
            for count in (10, 100, 1000):
                rates: dict[str, list[float]] = {}
                right, promised = [], 0.0
                for _ in range(trials):
                    both = simulated(population, count, 4, g)
                    fourth = np.arange(len(both.x)) % 4 == 3
                    gallery, probes = both.of(np.flatnonzero(~fourth)), both.of(np.flatnonzero(fourth))
                    new = simulated(population, STRANGERS, 1, g)
                    found, promised = thresholds(gallery, simulated(population, known, 5, g), fpir)
                    highest = by_identity(new.x, gallery).max(1)
                    for name, threshold in found.items():
                        rates.setdefault(name, []).append(float((highest >= threshold).mean()))
                    mated = by_identity(probes.x, gallery)
                    right.append(((mated.argmax(1) == probes.whose) & (mated.max(1) >= found["ours"])).mean())
                rows.append(
                    [population.name, str(known), f"{count:,}", *(shown(each) for each in rates.values()),
                     f"{promised:.3f}", f"{np.mean(right):.3f}"]
                )  # fmt: skip
                print(rows[-1], file=sys.stderr, flush=True)
    return rows


def thirds(crowd: Crowd, images: int, g: np.random.Generator) -> tuple[Crowd, Crowd, Crowd, Crowd]:
    """Enrolled, other images of the enrolled, validation, strangers."""
    parts = np.array_split(g.permutation(np.unique(crowd.whose)), 3)
    rows = np.concatenate(
        [g.choice(np.flatnonzero(crowd.whose == one), images, replace=False) for one in np.sort(parts[0])]
    )
    rest = np.setdiff1d(np.flatnonzero(np.isin(crowd.whose, parts[0])), rows)
    others = (crowd.of(np.flatnonzero(np.isin(crowd.whose, part))) for part in parts[1:])
    return crowd.of(rows), crowd.of(rest), *others  # type: ignore[return-value]


def real_rows(crowd: Crowd, trials: int, fpir: float) -> list[list[str]]:
    rows = []
    for images in (1, 5):
        g = np.random.default_rng(7)
        rates: dict[str, list[float]] = {}
        right, promised = [], 0.0
        for _ in range(trials):
            gallery, mated, validation, new = thirds(crowd, images, g)
            found, promised = thresholds(gallery, validation, fpir)
            highest = by_identity(new.x, gallery).max(1)
            for name, threshold in found.items():
                rates.setdefault(name, []).append(float((highest >= threshold).mean()))
            scores = by_identity(mated.x, gallery)
            named = np.unique(gallery.whose)[scores.argmax(1)]
            right.append(((named == mated.whose) & (scores.max(1) >= found["ours"])).mean())
        rows.append(
            [f"{fpir:g}", str(len(np.unique(gallery.whose))), str(images), *(shown(each) for each in rates.values()),
             f"{promised:.3f}", f"{np.mean(right):.3f}"]
        )  # fmt: skip
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def identity_scores(probes: Array, gallery: Crowd, count: int) -> dict[str, Array]:
    """Each probe's score with each identity ``(P, G)``, by the way it is taken."""
    rows = gallery.x.reshape(count, -1, gallery.x.shape[1])
    every = (probes @ gallery.x.T).reshape(len(probes), count, -1)
    means = rows.mean(1)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    two = np.sort(every, 2)[:, :, -2:].mean(2)
    return {"best row": every.max(2), "mean of rows": probes @ means.T, "two best": two}


def score_rows(crowd: Crowd, trials: int) -> list[list[str]]:
    rows = []
    for images in (1, 3, 5, 10):
        g = np.random.default_rng(9)
        rates: dict[str, list[float]] = {}
        for _ in range(trials):
            gallery, mated, _, new = thirds(crowd, images, g)
            names = np.unique(gallery.whose)
            of_mated, of_new = (identity_scores(probes.x, gallery, len(names)) for probes in (mated, new))
            for name in of_mated:
                first = names[of_mated[name].argmax(1)] == mated.whose
                for fpir in (0.05, 0.1):
                    threshold = np.quantile(of_new[name].max(1), 1 - fpir)
                    found = (first & (of_mated[name].max(1) >= threshold)).mean()
                    rates.setdefault(f"{name} {fpir}", []).append(float(found))
        rows.append([str(images), *(f"{np.mean(each):.3f}" for each in rates.values())])
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def real_crowds(data: Path | None, run: Path | None) -> dict[str, Crowd]:
    found = {}
    if data is not None:
        for name, (x, labels) in real_sets(data).items():
            found[f"{name}, a backbone that never saw it"] = Crowd(normalize(x.float()).numpy(), np.asarray(labels))
    if run is not None:
        items = polars.read_parquet(run / "embeddings.parquet")
        x = np.array(items["embedding"].to_list(), dtype=np.float32)
        found["ETH-80, held-out objects of a trained run"] = Crowd(x, items["identity"].to_numpy().astype(str))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    trials = 3 if asked.quick else asked.trials
    ways = ["independent", "resampled", "validation", "ours"]
    parts = [
        "# Identification",
        "Written by `benchmarks/identification.py`.",
        described(["triune", "torch", "numpy", "scipy"]),
        WAYS_NOTE,
        "## Simulated identities",
        SIMULATED_NOTE.format(trials=trials),
    ]
    for fpir in (0.05, 0.01):
        head = ["population", "validation identities", "enrolled", *ways, "promised", "DIR"]
        parts += [f"### Asked: {fpir:g}", table(head, simulated_rows(trials, fpir))]
    crowds = real_crowds(asked.data, asked.run)
    if crowds:
        parts += ["## Real identities", REAL_NOTE.format(trials=trials)]
    for name, crowd in crowds.items():
        head = ["asked", "enrolled", "images each", *ways, "promised", "DIR"]
        parts += [f"### {name}", table(head, [row for fpir in (0.05, 0.1) for row in real_rows(crowd, trials, fpir)])]
        kinds = [f"{kind}, {fpir}" for kind in ("best row", "mean of rows", "two best") for fpir in ("5%", "10%")]
        parts += [SCORE_NOTE, table(["images each", *kinds], score_rows(crowd, trials))]
    text = "\n\n".join(parts) + "\n"
    print(text)
    if asked.write is not None:
        asked.write.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
