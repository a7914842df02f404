"""What ``triune train --data X`` gives with no other flag but the weights, on identities that were never trained on.

    python benchmarks/defaults.py --eth80 FOLDER --omniglot FOLDER --weights FILE      # an hour and a half on two cores
    ... --sets digits characters --seeds 2                                             # some of it
    ... --folder RUNS --write benchmarks/results/defaults.md

ETH-80 is a folder with ``items.csv``; Omniglot one with ``images_background_small1.zip``. Runs are kept in
``--folder``, and one that is finished there is not run again: an interrupted benchmark goes on. Raw pixels and the
backbone as it was before training are judged by every run itself, on the same pairs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from machine import described
from scipy.stats import t as student

SETS = {
    "eth80": "ETH-80, objects 07 and 08 of each class",
    "part": "320 images of ETH-80, five of each object",
    "digits": "digits",
    "characters": "20 characters of Omniglot, 10 drawers; tested on 4",
    "further": "the same runs, tested on the 116 other characters",
}
PIXELS, START = "pixels", "pretrained"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--eth80", type=Path, help="folder with items.csv")
    parser.add_argument("--omniglot", type=Path, help="folder with images_background_small1.zip")
    parser.add_argument("--weights", type=Path, required=True, help="ImageNet weights of the backbone")
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where runs are kept; a temporary folder where not given")
    parser.add_argument("--write", type=Path, help="Markdown file for the table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = (options.folder or Path(place)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        rows = [
            row(name, [finished(name, seed, folder, options) for seed in range(options.seeds)]) for name in options.sets
        ]
    text = "\n".join([*head(options), *rows]) + "\n"
    print(text)
    if options.write is not None:
        options.write.write_text(text, encoding="utf-8")


def head(options: argparse.Namespace) -> list[str]:
    columns = ["data", "steps", "minutes", "TPR@FPR=5% of the seeds", "mean", "MAP@R", "mask IoU", "class"]
    columns += [f"{figure} over {base}" for figure in ("TPR", "MAP@R") for base in ("raw pixels", "the start backbone")]
    return [
        "# What the defaults give",
        "",
        "Written by `benchmarks/defaults.py`: `triune train --data X` with the backbone, its ImageNet weights, the "
        f"seed and no other flag; {options.seeds} seeds. Figures of identities never seen in training, nothing chosen "
        "on them. ± is the half width of a 95 % interval of the difference over the seeds (t): it says how steady "
        "training is, not what other identities would give.",
        "",
        described(("torch", "timm", "lightning")),
        "",
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
    ]


def finished(name: str, seed: int, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The results of a run, which is trained where it is not there yet."""
    run = folder / f"{name}-{seed}"
    if not (run / "metrics.json").exists():
        print(f"{name}, seed {seed}", file=sys.stderr, flush=True)
        if name == "further":
            finished("characters", seed, folder, options)
            others = characters_of(options.omniglot, folder / "others", count=116, seen=20)
            others.with_columns(split=pl.lit("test")).write_csv(folder / "others.csv")
            told = ["evaluate", str(folder / f"characters-{seed}"), "--data", str(folder / "others.csv")]
        else:
            start = ["--model.backbone", options.backbone, "--model.weights", str(options.weights)]
            told = ["train", "--data", data_of(name, folder, options), *start, "--seed", str(seed)]
        command, environment = [sys.executable, "-m", "triune", *told], {"OMP_NUM_THREADS": "1"} | os.environ
        subprocess.run([*command, "--output", str(run)], check=True, env=environment,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    results: dict[str, Any] = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    return results


def data_of(name: str, folder: Path, options: argparse.Namespace) -> str:
    """What ``--data`` names."""
    if name == "digits":
        return "digits"
    needed = options.omniglot if name == "characters" else options.eth80
    if needed is None:
        raise SystemExit(f"{name} needs --{'omniglot' if name == 'characters' else 'eth80'} FOLDER")
    if name == "eth80":
        return str(needed / "items.csv")
    table = folder / f"{name}.csv"
    frame = part_of(needed.resolve()) if name == "part" else characters_of(needed, folder / "characters")
    frame.write_csv(table)
    return str(table)


def part_of(eth80: Path) -> pl.DataFrame:
    """Five views of each object, spread over all; its splits stay."""
    frame = pl.read_csv(eth80 / "items.csv", infer_schema=False)
    views = [np.linspace(0, len(each) - 1, 5).round().astype(int) for each in frame.partition_by("identity")]
    chosen = pl.concat(each[some.tolist()] for each, some in zip(frame.partition_by("identity"), views, strict=True))
    files = [pl.format(f"{eth80}/{{}}", name).alias(name) for name in ("image", "mask")]
    made: pl.DataFrame = chosen.with_columns(files)
    return made


def characters_of(omniglot: Path, folder: Path, count: int = 20, seen: int = 0) -> pl.DataFrame:
    """Characters, spread over all alphabets, by their first ten drawers; no splits.

    Args:
        omniglot: the folder with the archive.
        folder: where images go.
        count: how many characters.
        seen: as many, chosen in the same way, are left out before.
    """
    with zipfile.ZipFile(omniglot / "images_background_small1.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".png"))
        characters = sorted({name.rpartition("/")[0] for name in names})
        left = sorted(set(characters) - set(spread(characters, seen)))
        kept = {each: [name for name in names if name.rpartition("/")[0] == each][:10] for each in spread(left, count)}
        archive.extractall(folder, [name for those in kept.values() for name in those])
    rows = [(str(folder / name), each) for each, those in kept.items() for name in those]
    return pl.DataFrame(rows, schema=["image", "identity"], orient="row")


def spread(names: Sequence[str], count: int) -> list[str]:
    return [names[k] for k in np.linspace(0, len(names) - 1, count).round().astype(int)]


def row(name: str, results: Sequence[dict[str, Any]]) -> str:
    """A line of the table."""
    tpr = {role: [tpr_of(each, role) for each in results] for role in ("model", PIXELS, START)}
    found = {role: [map_at_r_of(each, role) for each in results] for role in ("model", PIXELS, START)}
    training = results[0]["training"]
    minutes = np.mean([each["training"]["seconds"] for each in results]) / 60
    heads = [
        mean_of([each[part][figure] for each in results if each[part]])
        for part, figure in (("segmentation", "iou"), ("classification", "accuracy"))
    ]
    cells = [SETS[name], str(training["steps"]), f"{minutes:.1f}", ", ".join(f"{each:.3f}" for each in tpr["model"])]
    cells += [mean_of(tpr["model"]), mean_of(found["model"]), *heads]
    cells += [over(tpr["model"], tpr[role]) for role in (PIXELS, START)]
    cells += [over(found["model"], found[role]) for role in (PIXELS, START)]
    return f"| {' | '.join(cells)} |"


def model_of(results: dict[str, Any], role: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in results["models"] if each["role"] == role)
    return found


def tpr_of(results: dict[str, Any], role: str) -> float:
    points = model_of(results, role)["verification"]["test"]["points"]
    return float(next(each["tpr"] for each in points if each["target_fpr"] == 0.05))


def map_at_r_of(results: dict[str, Any], role: str) -> float:
    return float(model_of(results, role)["retrieval"]["map_at_r"])


def mean_of(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f}" if values else "–"


def over(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """The mean of the differences of a seed, and half of their 95 % interval."""
    differences = np.subtract(ours, theirs)
    if len(differences) < 2:
        return f"{differences.mean():+.3f}"
    half = student.ppf(0.975, len(differences) - 1) * differences.std(ddof=1) / len(differences) ** 0.5
    return f"{differences.mean():+.3f} ± {half:.3f}"


if __name__ == "__main__":
    main()
