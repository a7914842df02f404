"""Do thresholds keep what is said of them? Coverage of the interval for new identities, and of the promise.

    python benchmarks/threshold_promise.py                    # simulated identities
    python benchmarks/threshold_promise.py --data FOLDER      # also ETH-80 and Omniglot, in FOLDER/eth80 and so on
    python benchmarks/threshold_promise.py --quick            # small, to see that it runs
    python benchmarks/threshold_promise.py --write PATH       # also write the tables to a Markdown file

A threshold is fitted on G identities for a budget. Its true false-positive rate is that of the population, which is
known of simulated identities (from 3,000 others); of real ones it is measured on all identities that were not drawn.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars
import torch
from machine import described
from torch.nn.functional import normalize

import triune
from triune.verification.intervals import rate_interval, wilson_interval
from triune.verification.promise import identities_needed, least_promisable_fpr

BUDGET, LEVEL = 0.05, 0.95
DIMENSIONS = 16

INTERVAL_NOTE = f"""A threshold for {BUDGET:.0%} is fitted on G identities; the interval of level {LEVEL:g} should cover
its rate in the population. {{trials}} trials a line, with Wilson's interval of the share. "Pairs" is the coverage of
Wilson's interval that takes pairs for independent. The last column says where nine in ten of the true rates lie."""

FIXED_NOTE = f"""A threshold chosen elsewhere, whose rate in the population is known, is applied to G identities with
five images each (one condition of `rates_by_condition`, or `fpr_at_threshold` of `bootstrap_verification`). The
interval of level {LEVEL:g} leaves out one identity at a time; "resampled" is the coverage of percentiles over resampled
identities, as it was before (Wilson's interval where no resample has a false positive). {{trials}} trials a line."""

PROMISE_NOTE = f"""Confidence {LEVEL:g}: at most {1 - LEVEL:.2f} of the thresholds may let more than the budget through.
"Plain" is the threshold that keeps the budget on the identities at hand. With 400 identities and more, a fifth of the
trials."""

WORST_NOTE = """A share of the population matches everyone, so that the rate is a hair above the budget at any threshold
below their score. The last column is the chance that none of them is among those at hand, which no method can tell."""

REAL_NOTE = """EfficientNet-Lite0 with ImageNet weights, mean features, cosine; nothing trained. Random splits: a
threshold is fitted on G identities and judged on all others. Their own rate scatters around that of the population, so
that an interval for the latter covers it a little less often."""

Items = tuple[torch.Tensor, np.ndarray[Any, Any]]


class Population(NamedTuple):
    """Identities to draw from.

    Args:
        name: for the table.
        centres: of so many identities, ``(G, 16)``.
    """

    name: str
    centres: Callable[[int, np.random.Generator], np.ndarray[Any, Any]]


def even(count: int, g: np.random.Generator) -> np.ndarray[Any, Any]:
    return g.normal(size=(count, DIMENSIONS))


def kinds(count: int, g: np.random.Generator) -> np.ndarray[Any, Any]:
    centres = np.random.default_rng(7).normal(size=(8, DIMENSIONS))
    return 1.2 * centres[g.integers(0, 8, count)] + 0.8 * g.normal(size=(count, DIMENSIONS))


def wolves(count: int, g: np.random.Generator) -> np.ndarray[Any, Any]:
    centres = g.normal(size=(count, DIMENSIONS))
    chosen = g.random(count) < 0.1
    centres[chosen] = 0.3 * centres[chosen] + 0.3
    return centres + 0.5


POPULATIONS = (
    Population("all alike", even),
    Population("of eight kinds", kinds),
    Population("one in ten resembles all", wolves),
)


def drawn(population: Population, identities: int, images: int, g: np.random.Generator) -> Items:
    """So many identities with so many images each."""
    centres = population.centres(identities, g)
    x = centres[:, None] + 0.5 * g.normal(size=(identities, images, DIMENSIONS))
    return torch.from_numpy(x.reshape(-1, DIMENSIONS)).float(), np.repeat(np.arange(identities), images)


def population_scores(population: Population, g: np.random.Generator) -> np.ndarray[Any, Any]:
    """The scores of all pairs of 3,000 identities, an image of each, ascending."""
    rows = normalize(drawn(population, 3000, 1, g)[0])
    return np.sort((rows @ rows.T).numpy()[np.triu_indices(3000, 1)])


def shown(share: float, count: int) -> str:
    """A share of trials with its interval."""
    low, high = wilson_interval(share * count, count)
    return f"{share:.3f} ({low:.3f}–{high:.3f})"


def interval_rows(trials: int) -> list[list[str]]:
    """Coverage of the interval, and of one that takes pairs for independent."""
    rows = []
    for population in POPULATIONS:
        g = np.random.default_rng(1)
        truth = population_scores(population, g)
        for identities in (5, 10, 30, 100):
            images = 10 if identities < 100 else 6
            covered, naive, rates, widths = [], [], [], []
            for _ in range(trials):
                prepared = triune.prepare(*drawn(population, identities, images, g))
                fitted = triune.fit_threshold(
                    triune.verify_embeddings(prepared), BUDGET, prepared=prepared, level=LEVEL
                )
                rate = 1 - np.searchsorted(truth, fitted.threshold) / len(truth)
                low, high = wilson_interval(fitted.fpr * fitted.impostors, fitted.impostors, LEVEL)
                covered.append(fitted.expected.low <= rate <= fitted.expected.high)
                naive.append(low <= rate <= high)
                rates.append(rate)
                widths.append(fitted.expected.high - fitted.expected.low)
            spread = np.quantile(rates, [0.05, 0.95])
            rows.append(
                [population.name, str(identities), shown(np.mean(covered), trials), f"{np.median(widths):.3f}",
                 f"{np.mean(naive):.3f}", f"{spread[0]:.3f} to {spread[1]:.3f}"]
            )  # fmt: skip
            print(rows[-1], file=sys.stderr, flush=True)
    return rows


def fixed_rows(trials: int) -> list[list[str]]:
    """Coverage of intervals of the rate at a threshold that does not depend on the identities at hand."""
    rows = []
    for population in POPULATIONS:
        g = np.random.default_rng(5)
        truth = population_scores(population, g)
        for identities in (5, 10, 30, 100):
            for budget in (0.05, 0.01):
                threshold = float(truth[int((1 - budget) * len(truth))])
                rate = 1 - np.searchsorted(truth, threshold) / len(truth)
                covered, resampled, widths = [], [], []
                for _ in range(trials):
                    x, labels = drawn(population, identities, 5, g)
                    (row,) = triune.rates_by_condition(x, labels, labels * 0, threshold, resamples=200).rows
                    before = rate_interval(row.fpr.estimate, row.fpr.values, LEVEL, identities // 2)
                    covered.append(row.fpr.low <= rate <= row.fpr.high)
                    resampled.append(before.low <= rate <= before.high)
                    widths.append(row.fpr.high - row.fpr.low)
                rows.append(
                    [population.name, str(identities), f"{budget:g}", shown(np.mean(covered), trials),
                     f"{np.median(widths):.3f}", f"{np.mean(resampled):.3f}"]
                )  # fmt: skip
                print(rows[-1], file=sys.stderr, flush=True)
    return rows


def worst_rows(trials: int) -> list[list[str]]:
    """The population that no bound without assumptions can do better for: a share of it matches everyone.

    Axes of their own never match; the diagonal matches them all, by 1/√G. Of the identities at hand, each is of that
    share with a probability that makes the rate a little more than the budget.
    """
    rows = []
    for budget, confidence in ((0.05, 0.95), (0.2, 0.8)):
        count = identities_needed(budget, confidence)
        share = 1 - math.sqrt(1 - budget) + 1e-6
        g = np.random.default_rng(3)
        plain = promised = 0
        for _ in range(trials):
            x = torch.eye(count)
            x[torch.from_numpy(g.random(count) < share)] = count**-0.5
            labels = np.arange(count)
            two = torch.cat([x, x]), np.concatenate([labels, labels])
            prepared = triune.prepare(*two)
            pairs = triune.verify_embeddings(prepared)
            plain += triune.fit_threshold(pairs, budget).threshold <= count**-0.5
            promised += triune.promised_score(prepared, fpr=budget, confidence=confidence) <= count**-0.5
        rows.append(
            [f"{budget:g}", f"{confidence:g}", str(count), shown(plain / trials, trials),
             shown(promised / trials, trials), f"{(1 - share) ** count:.3f}"]
        )  # fmt: skip
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def promise_rows(trials: int) -> list[list[str]]:
    """How often the promise was broken, and what it costs, by the number of identities."""
    rows = []
    for population in POPULATIONS:
        g = np.random.default_rng(2)
        truth = population_scores(population, g)
        for identities, budget in ((40, 0.15), (118, 0.05), (150, 0.05), (200, 0.05), (400, 0.05), (1000, 0.05)):
            counted = max(trials // (1 if identities < 400 else 5), 5)
            rates, tprs, plain_rates, plain_tprs = [], [], [], []
            for _ in range(counted):
                prepared = triune.prepare(*drawn(population, identities, 4, g))
                pairs = triune.verify_embeddings(prepared)
                plain = triune.fit_threshold(pairs, budget)
                fitted = triune.fit_threshold(pairs, budget, prepared=prepared, confidence=LEVEL)
                rates.append(1 - np.searchsorted(truth, fitted.threshold) / len(truth))
                plain_rates.append(1 - np.searchsorted(truth, plain.threshold) / len(truth))
                tprs.append(fitted.tpr)
                plain_tprs.append(plain.tpr)
            broken, plain_broken = (np.mean(np.array(each) > budget) for each in (rates, plain_rates))
            rows.append(
                [population.name, str(identities), f"{budget:g}", shown(plain_broken, counted), shown(broken, counted),
                 f"{np.mean(rates):.4f}", f"{np.mean(plain_tprs):.3f}", f"{np.mean(tprs):.3f}"]
            )  # fmt: skip
            print(rows[-1], file=sys.stderr, flush=True)
    return rows


def backbone_embeddings(paths: list[str], weights: Path, size: int) -> torch.Tensor:
    """Mean features of EfficientNet-Lite0 with ImageNet weights, never trained on these sets."""
    import timm
    from PIL import Image
    from safetensors.torch import load_file

    network = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0)
    network.load_state_dict(
        {name: each for name, each in load_file(weights).items() if not name.startswith("classifier")}
    )
    network.eval()
    rows = []
    with torch.inference_mode():
        for start in range(0, len(paths), 64):
            images = [Image.open(path).convert("RGB").resize((size, size)) for path in paths[start : start + 64]]
            pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2)
            rows.append(network(pixels.float() / 127.5 - 1))
    return torch.cat(rows)


def real_sets(data: Path) -> dict[str, Items]:
    """ETH-80 (64 objects, 41 views) and Omniglot's small background set (136 characters, 20 drawers)."""
    weights = data / "weights" / "tf_efficientnet_lite0.safetensors"
    table = polars.read_csv(data / "eth80" / "items.csv")
    paths = [str(data / "eth80" / name) for name in table["image"]]
    sets = {"ETH-80": (backbone_embeddings(paths, weights, 96), table["identity"].to_numpy())}
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(data / "omniglot" / "images_background_small1.zip") as archive:
            archive.extractall(folder)
        files = sorted(Path(folder).rglob("*.png"))
        names = np.array(["/".join(path.parts[-3:-1]) for path in files])
        sets["Omniglot"] = backbone_embeddings([str(path) for path in files], weights, 96), names
    return sets


def real_rows(sets: dict[str, Items], trials: int) -> tuple[list[list[str]], list[list[str]]]:
    """The same on repeated random splits of real identities: G to fit on, all others for the truth."""
    intervals, promises = [], []
    for name, (x, labels) in sets.items():
        identities = np.unique(labels)
        g = np.random.default_rng(4)
        for count in (5, 10, 30) if len(identities) < 100 else (5, 10, 30, 60):
            budget = math.ceil(least_promisable_fpr(count, LEVEL) * 1.15 * 100) / 100
            covered, rates, broken, plain_broken, promised_rates = [], [], [], [], []
            for _ in range(trials):
                chosen = np.isin(labels, g.choice(identities, count, replace=False))
                fit_on, rest = (triune.prepare(x[torch.from_numpy(part)], labels[part]) for part in (chosen, ~chosen))
                pairs, others = triune.verify_embeddings(fit_on), triune.verify_embeddings(rest)
                fitted = triune.fit_threshold(pairs, BUDGET, prepared=fit_on, level=LEVEL)
                rate = fitted.apply(others).fpr
                covered.append(fitted.expected.low <= rate <= fitted.expected.high)
                rates.append(rate)
                if budget < 0.5:
                    promised = triune.fit_threshold(pairs, budget, prepared=fit_on, confidence=LEVEL)
                    promised_rates.append(promised.apply(others).fpr)
                    broken.append(promised_rates[-1] > budget)
                    plain_broken.append(triune.fit_threshold(pairs, budget).apply(others).fpr > budget)
            low, high = np.quantile(rates, [0.05, 0.95])
            intervals.append([name, str(count), shown(np.mean(covered), trials), f"{low:.3f} to {high:.3f}"])
            if broken:
                promises.append(
                    [name, str(count), f"{budget:g}", shown(np.mean(plain_broken), trials),
                     shown(np.mean(broken), trials), f"{np.mean(promised_rates):.4f}"]
                )  # fmt: skip
            print(intervals[-1], promises[-1:], file=sys.stderr, flush=True)
    return intervals, promises


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    trials = 10 if asked.quick else asked.trials
    head = ["population", "G", "budget", "plain broken", "promise broken", "true rate, promised"]
    parts = [
        "# Thresholds on new identities",
        "Written by `benchmarks/threshold_promise.py`.",
        described(["triune", "torch", "numpy", "scipy"]),
        "## The interval, simulated identities",
        INTERVAL_NOTE.format(trials=trials),
        table(["population", "G", "covers", "median width", "pairs cover", "true rate"], interval_rows(trials)),
        "## The interval at a fixed threshold, simulated identities",
        FIXED_NOTE.format(trials=trials),
        table(["population", "G", "rate", "covers", "median width", "resampled"], fixed_rows(trials)),
        "## The promise, simulated identities",
        PROMISE_NOTE,
        table([*head, "TPR, plain", "TPR, promised"], promise_rows(max(trials // 2, 5))),
        "## The promise, the worst population",
        WORST_NOTE,
        table(["budget", "confidence", "G", "plain broken", "promise broken", "unavoidable"], worst_rows(trials)),
    ]
    if asked.data is not None:
        intervals, promises = real_rows(real_sets(asked.data), max(trials // 2, 5))
        parts += [
            "## Real identities",
            REAL_NOTE,
            table(["data", "G", f"interval covers ({BUDGET:.0%})", "rate on the others"], intervals),
            f"The promise at a budget that G identities can promise with confidence {LEVEL:g}:",
            table(["data", "G", "budget", "plain broken", "promise broken", "mean rate on the others"], promises),
        ]
    text = "\n\n".join(parts) + "\n"
    print(text)
    if asked.write is not None:
        asked.write.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
