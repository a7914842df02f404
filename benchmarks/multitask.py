"""Does learning class, mask and embedding together help? Single tasks, the fixed sum, and each weighting, paired.

    python benchmarks/multitask.py --eth80 FOLDER --omniglot FOLDER            # hours on two cores, or:
    python benchmarks/multitask.py --eth80 FOLDER --omniglot FOLDER --jobs 8   # runs side by side, on a GPU
    python benchmarks/multitask.py --eth80 FOLDER --quick                      # tiny, to see that it runs
    ... --weights FILE --seeds 5 --steps 400 --store FILE.jsonl --write benchmarks/results/multitask.md

ETH-80 is a folder with ``items.csv``; Omniglot one with torchvision's archives. Weights are those of
``--backbone``; without them, and on Omniglot always, training is from scratch. Every way of weighting sees the same
images, batches and initial weights for a seed, so that the differences are paired. A run that is in ``--store`` is not
run again: an interrupted benchmark goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from machine import described
from scipy.stats import t as student

from triune.errors import InputError
from triune.model.aggregation import NEEDS, check_installed
from triune.model.network import predicted_masks
from triune.retrieval.metrics import retrieval_metrics
from triune.run.folder import load_model
from triune.run.loaders import ItemData
from triune.run.parser import parse_train
from triune.training.opened import opened_run
from triune.training.train import fit, training_data
from triune.verification.all_pairs import verify_embeddings

WEIGHTINGS = ("fixed", "uncertainty", "dwa", "gradnorm", "upgrad", "pcgrad", "cagrad", "mgda", "nash-mtl")
ALONE = {
    "embedding alone": ["--alpha", "0", "--beta", "0"],
    "classes alone": ["--beta", "0", "--gamma", "0"],
    "masks alone": ["--alpha", "0", "--gamma", "0"],
}
ARMS = {**ALONE, **{name: ["--loss.weighting", name] for name in WEIGHTINGS}}
FIGURES = {"tpr": "TPR@FPR=5%", "map_at_r": "MAP@R", "accuracy": "class accuracy", "iou": "mask IoU"}
OWN = {"embedding alone": ("tpr", "map_at_r"), "classes alone": ("accuracy",), "masks alone": ("iou",)}
"""What a single task is judged by: its own figures."""


class Job(NamedTuple):
    """One run: the data set's name, the arm, the seed and the arguments of ``triune train``."""

    data: str
    arm: str
    seed: int
    arguments: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--eth80", type=Path, help="folder with items.csv")
    parser.add_argument("--omniglot", type=Path, help="folder with torchvision's archives")
    parser.add_argument("--weights", type=Path, help="ImageNet weights of the backbone, for ETH-80")
    parser.add_argument("--backbone", help="tf_efficientnet_lite0 with weights, else resnet18")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--size", type=int, default=64, help="of ETH-80's images, in pixels")
    parser.add_argument("--omniglot_size", type=int, default=64, help="of Omniglot's")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument("--quick", action="store_true", help="two seeds of a few steps, a small network")
    parser.add_argument("--store", type=Path, help="a line of JSON a run; those that are there are not run again")
    parser.add_argument("--write", type=Path, help="Markdown file for the tables")
    options = parser.parse_args()
    if options.eth80 is None and options.omniglot is None:
        parser.error("give --eth80 FOLDER, --omniglot FOLDER, or both")
    if options.quick:
        options.seeds, options.steps, options.size, options.omniglot_size = 2, min(options.steps, 6), 32, 32
    arms, missing = usable(options.arms)
    jobs = list(planned(options, arms))
    found = stored(options.store)
    left = [job for job in jobs if key(job.data, job.arm, job.seed) not in found]
    print(f"{len(jobs)} runs, {len(jobs) - len(left)} of them done; left out: {missing or 'none'}", file=sys.stderr)
    for job, figures in results(left, options.jobs):
        found[key(job.data, job.arm, job.seed)] = figures
        print(job.data, job.arm, job.seed, json.dumps(figures), file=sys.stderr, flush=True)
        if options.store is not None:
            with options.store.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"run": key(job.data, job.arm, job.seed), "figures": figures}) + "\n")
    text = report(jobs, found, options, missing)
    print(text)
    if options.write is not None:
        options.write.write_text(text, encoding="utf-8")


def usable(arms: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arms whose solvers are installed, and the others."""
    kept, missing = [], []
    for arm in arms:
        try:
            if arm in NEEDS:
                check_installed(arm)
            kept.append(arm)
        except InputError:
            missing.append(arm)
    return kept, missing


def planned(options: argparse.Namespace, arms: Sequence[str]) -> Iterator[Job]:
    """Every run; those of a seed one after another, so that a benchmark that is cut short has whole pairs."""
    # All tasks read the deepest map, so that they share the whole backbone.
    stage = ["--model.embedding_stage", "-1"]
    base = ["--steps", str(options.steps), "--batch_size", str(options.batch_size), "--alpha", "1", *stage]
    small = ["--model.backbone", "resnet10t"] if options.quick else []
    sizes = {"ETH-80": options.size, "Omniglot": options.omniglot_size}
    backbone = options.backbone or ("tf_efficientnet_lite0" if options.weights else "resnet18")
    sets: dict[str, list[str]] = {}
    if options.eth80 is not None:
        start = ["--model.weights", str(options.weights)] if options.weights and not options.quick else []
        start = start or ["--model.pretrained", "false"]
        sets["ETH-80"] = ["--data", str(options.eth80 / "items.csv"), "--model.backbone", backbone, *start, *small]
    if options.omniglot is not None:
        grey = ["--images.channels", "1", "--images.augment.flip", "0", "--model.pretrained", "false"]
        network = ["--model.backbone", "resnet18", *small]
        sets["Omniglot"] = ["--data", "omniglot", "--root", str(options.omniglot), *grey, *network]
    for seed in range(options.seeds):
        for data, arguments in sets.items():
            for arm in arms:
                size = ["--images.size", str(sizes[data])]
                yield Job(data, arm, seed, [*arguments, *base, *size, *ARMS[arm], "--seed", str(seed)])


def results(jobs: Sequence[Job], side_by_side: int) -> Iterator[tuple[Job, dict[str, float]]]:
    """Each job with its figures, as they are done."""
    if side_by_side <= 1:
        for job in jobs:
            yield job, run(job)
        return
    with ProcessPoolExecutor(side_by_side, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(run, job): job for job in jobs}
        for done in as_completed(waiting):
            yield waiting[done], done.result()


def run(job: Job) -> dict[str, float]:
    """Train, and judge the kept network on the held-out items."""
    torch.set_num_threads(max(1, torch.get_num_threads() // 2) if torch.cuda.is_available() else 1)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as place, contextlib.redirect_stderr(io.StringIO()):
        config = parse_train([*job.arguments, "--output", str(Path(place) / "run")])
        with opened_run(config) as folder:
            data = training_data(config, folder)
            fit(config, data, folder)
            seconds = time.perf_counter() - start
            figures = judged(folder, data)
    return {**{name: figures[name] for name in OWN.get(job.arm, tuple(FIGURES))}, "seconds": seconds}


def judged(folder: Path, data: ItemData) -> dict[str, float]:
    """Figures of the test items; classes of those of the holdout where no class of the test was trained."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, _ = load_model(folder, device)
    embeddings, identities, right, known, overlap, union = [], [], 0, 0, 0, 0
    for split in ("test", "holdout"):
        if not data.count(split):
            continue
        for batch in data.loader(split):
            with torch.inference_mode():
                answer = model(batch.images.to(device))
            if split == "test" and answer.embedding is not None:
                named = batch.identities >= 0
                embeddings.append(answer.embedding.cpu()[named])
                identities.append(batch.identities[named])
            if answer.class_logits is not None:
                named = batch.classes >= 0
                right += int((answer.class_logits.argmax(1).cpu() == batch.classes)[named].sum())
                known += int(named.sum())
            if split == "test" and answer.mask_logits is not None:
                said, true = predicted_masks(answer.mask_logits).cpu() == 1, batch.masks == 1
                counted = batch.masks != 255
                overlap += int((said & true & counted).sum())
                union += int(((said | true) & counted).sum())
    pairs = verify_embeddings(torch.cat(embeddings), torch.cat(identities), metric="cosine")
    found = retrieval_metrics(torch.cat(embeddings), torch.cat(identities), metric="cosine")
    return {
        "tpr": float(pairs.tpr_at_fpr(0.05)),
        "map_at_r": float(found.map_at_r),
        "accuracy": right / known if known else math.nan,
        "iou": overlap / union if union else math.nan,
    }


def key(data: str, arm: str, seed: int) -> str:
    return f"{data}/{arm}/{seed}"


def stored(path: Path | None) -> dict[str, dict[str, float]]:
    """What earlier calls have found."""
    if path is None or not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return {line["run"]: line["figures"] for line in lines}


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean of paired differences and half of its 95 % interval, by Student's t over the seeds."""
    n = len(values)
    half = student.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n) if n > 1 else math.nan
    return float(np.mean(values)), float(half)


def report(
    jobs: Sequence[Job], found: dict[str, dict[str, float]], options: argparse.Namespace, missing: Sequence[str]
) -> str:
    """The tables: means, and the differences from the fixed sum with their intervals."""
    lines = ["# Weighting of class, mask and embedding", "", described(("torch", "timm", "torchjd")), ""]
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "the processor; not run on a GPU"
    given = f"{options.weights.stem} weights" if options.weights and not options.quick else "from scratch"
    lines += [
        f"On {where}. {options.steps} steps of {options.batch_size} images a run, {options.seeds} seeds; ETH-80 "
        f"{given} at {options.size} pixels, Omniglot from scratch at {options.omniglot_size}. "
        "Judged on identities never trained on. ± is half the 95 % interval of the paired difference from the fixed "
        "sum, over the seeds; **bold** where it leaves out 0. A task alone is judged by its own figures.",
        "",
    ]
    if missing:
        lines += [f"Left out, since their solvers are not installed: {', '.join(missing)}.", ""]
    for data in dict.fromkeys(job.data for job in jobs):
        lines += [
            f"## {data}",
            "",
            f"| weighting | {' | '.join(FIGURES.values())} | seconds |",
            "|---|---|---|---|---|---|",
        ]
        for arm in dict.fromkeys(job.arm for job in jobs):
            seeds = [s for s in range(options.seeds) if key(data, arm, s) in found]
            if not seeds:
                continue
            cells = [cell(found, (data, arm), figure, seeds) for figure in FIGURES]
            seconds = np.mean([found[key(data, arm, s)]["seconds"] for s in seeds])
            lines.append(f"| {arm} | {' | '.join(cells)} | {seconds:.0f} |")
        lines.append("")
    return "\n".join(lines)


def cell(found: dict[str, dict[str, float]], which: tuple[str, str], figure: str, seeds: Sequence[int]) -> str:
    """A figure's mean, and how far it lies from that of the fixed sum."""
    data, arm = which
    values = [found[key(data, arm, s)].get(figure, math.nan) for s in seeds]
    if not np.isfinite(values).all():
        return "–"
    mean = f"{np.mean(values):.3f}"
    pairs = [(v, found[key(data, "fixed", s)][figure]) for v, s in zip(values, seeds) if key(data, "fixed", s) in found]
    if arm == "fixed" or len(pairs) < 2:
        return mean
    middle, half = interval([ours - theirs for ours, theirs in pairs])
    said = f"{middle:+.3f} ± {half:.3f}"
    return f"{mean} ({f'**{said}**' if abs(middle) > half else said})"


if __name__ == "__main__":
    main()
