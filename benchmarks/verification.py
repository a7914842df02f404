"""Verification over all pairs, against scikit-learn, torchmetrics and the matrix products it cannot avoid.

    python benchmarks/verification.py                  # N = 10,000 against the peers
    python benchmarks/verification.py --items 100000   # against the matrix products alone: the peers' lists do not fit
    python benchmarks/verification.py --items 1000000 --dim 512 --device cuda --repeats 1  # on a GPU, its memory
    python benchmarks/verification.py --quick          # small, to see that it runs
    python benchmarks/verification.py --write PATH     # also write the tables to a Markdown file

Contenders take turns in one process, so that a slow minute of the machine slows all of them; medians and ratios are
given. Peak memory is the operating system's own count of a process that runs one contender alone; with a GPU, torch's
count of the memory of the GPU.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from machine import described, importable, own_peak
from torch import Tensor

FPR = 0.05
# Rows and columns of a block of products alone, by device.
FLOOR_TILE = {"cpu": 4096, "cuda": 8192}
# The peers list every pair: beyond this many they need tens of GiB.
PEER_PAIRS = 100_000_000
PEERS = {"scikit-learn": "sklearn", "torchmetrics": "torchmetrics"}
Step = Callable[[], tuple[float, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--per_identity", type=int, default=10)
    parser.add_argument("--noise", type=float, default=1.7, help="length of the noise; a class centre has length 1")
    parser.add_argument("--device", choices=FLOOR_TILE, default="cpu")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each contender")
    parser.add_argument("--quick", action="store_true", help="1,000 items")
    parser.add_argument("--write", type=Path, help="Markdown file for the tables")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: there is no GPU here")
    if options.quick:
        options.items = min(options.items, 1000)
    if options.part:
        print(peak_memory(options))
        return
    lines = report(options)
    if options.write:
        options.write.write_text("\n".join(lines) + "\n", encoding="utf-8")


def report(options: argparse.Namespace) -> list[str]:
    """Print the tables as they come, and keep them."""
    lines: list[str] = []

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    say(heading(options))
    embeddings, labels = identities(options)
    pairs = options.items * (options.items - 1) // 2
    steps: dict[str, Callable[[], object]] = {"triune": ours(embeddings, labels), "products": products(embeddings)}
    for name, module in PEERS.items():
        if pairs > PEER_PAIRS:
            say(f"{name} skipped: it lists every pair, and {pairs:,} are more than {PEER_PAIRS:,}.\n")
        elif not importable(module):
            say(f"{name} skipped: it is not installed.\n")
        else:
            steps[name] = PEER_STEPS[name](embeddings, labels)
    values, seconds = interleave(steps, options.repeats)
    empty = measured("imports", options)
    peak_of = {"cpu": "peak MiB of its process", "cuda": "peak MiB on the device"}
    say(f"| contender | seconds | times of triune | {peak_of[options.device]} | AUC | TPR@FPR=5% |")
    say("| --- | --- | --- | --- | --- | --- |")
    peaks = {}
    for name in steps:
        peaks[name] = measured(name, options)
        shown = "– | –" if name == "products" else "{:.9f} | {:.9f}".format(*values[name])
        times = f"{seconds[name] / seconds['triune']:.2f}×"
        say(f"| {name} | {seconds[name]:.3f} | {times} | {peaks[name]:.0f} | {shown} |")
    if options.device == "cpu":
        say(f"\n`import torch` alone takes {empty:.0f} MiB.\n")
    for name in PEERS:
        if name in steps:
            say(f"- {name}: {agreement(values['triune'], values[name])}")
    ratio = seconds["triune"] / seconds["products"]
    if "scikit-learn" in steps:
        faster = seconds["scikit-learn"] / seconds["triune"]
        verdict = met(faster >= 50, options.items == 10_000)
        say(f"- {faster:.1f}× faster than scikit-learn (target at N = 10,000: at least 50×): {verdict}")
    if options.device == "cuda":
        whole = (options.items, options.dim) == (1_000_000, 512)
        say(f"- {pairs / seconds['triune']:.2e} pairs a second, {ratio:.2f}× the matrix products alone")
        say(f"- {seconds['triune']:.1f} s (target on one H200: under 60 s): {met(seconds['triune'] < 60, whole)}")
        return lines
    large = options.items == 100_000
    say(f"- {ratio:.2f}× the matrix products alone (target at N = 100,000: at most 2×): {met(ratio <= 2, large)}")
    peak = peaks["triune"]
    say(f"- {peak:.0f} MiB (target at N = 100,000: under 1,024): {met(peak < 1024, large)}")
    return lines


def ours(embeddings: Tensor, labels: Tensor) -> Step:
    from triune import verify_embeddings

    def step() -> tuple[float, float]:
        found = verify_embeddings(embeddings, labels, metric="cosine")
        return found.auc, found.tpr_at_fpr(FPR)  # on the host: a device has done its work by then

    return step


def sklearn_step(embeddings: Tensor, labels: Tensor) -> Step:
    from sklearn.metrics import auc, roc_curve

    def step() -> tuple[float, float]:
        scores, matching = listed(embeddings, labels)
        fpr, tpr, _ = roc_curve(matching.numpy(), scores.numpy())
        return float(auc(fpr, tpr)), float(tpr[fpr <= FPR].max())

    return step


def torchmetrics_step(embeddings: Tensor, labels: Tensor) -> Step:
    from torchmetrics.functional.classification import binary_roc
    from torchmetrics.utilities.compute import auc

    def step() -> tuple[float, float]:
        scores, matching = listed(embeddings, labels)
        # Scores outside 0 to 1 would go through a sigmoid, which ties what differs in the last bits.
        fpr, tpr, _ = binary_roc((scores + 1) / 2, matching.long(), thresholds=None)
        return float(auc(fpr.double(), tpr.double())), float(tpr[fpr <= FPR].max())

    return step


PEER_STEPS = {"scikit-learn": sklearn_step, "torchmetrics": torchmetrics_step}


def listed(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Every pair once: its score, and whether it matches."""
    first, second = torch.triu_indices(len(labels), len(labels), offset=1)
    return (embeddings @ embeddings.T)[first, second], labels[first] == labels[second]


def products(embeddings: Tensor) -> Callable[[], object]:
    """The upper triangle's blocks of the Gram matrix, each into the same buffer."""
    tile = min(FLOOR_TILE[embeddings.device.type], len(embeddings))
    buffer = torch.empty(tile * tile, device=embeddings.device)

    def step() -> None:
        blocks = embeddings.split(tile)
        for i, rows in enumerate(blocks):
            for columns in blocks[i:]:
                out = buffer[: len(rows) * len(columns)].view(len(rows), len(columns))
                torch.mm(rows, columns.T, out=out)
        if embeddings.is_cuda:
            torch.cuda.synchronize()

    return step


def identities(options: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """Unit vectors around the centres of identities, shuffled."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(options.items) // options.per_identity
    centres = torch.randn(int(labels[-1]) + 1, options.dim, generator=generator)
    noise = torch.randn(options.items, options.dim, generator=generator)
    x = torch.nn.functional.normalize(centres[labels].add_(noise, alpha=options.noise))
    order = torch.randperm(options.items, generator=generator)
    return x[order].to(options.device), labels[order]


def interleave(
    steps: dict[str, Callable[[], object]], repeats: int
) -> tuple[dict[str, tuple[float, float]], dict[str, float]]:
    """Each runs once to warm up and to give its value, then they take turns; median seconds."""
    values = {name: step() for name, step in steps.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - start)
    return values, {name: median(each) for name, each in times.items()}


def measured(part: str, options: argparse.Namespace) -> float:
    """Peak MiB of a fresh process: a peak never goes down again within one."""
    command = [sys.executable, __file__, "--part", part]
    for name in ("items", "dim", "per_identity", "noise", "device"):
        command += [f"--{name}", str(getattr(options, name))]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])


def peak_memory(options: argparse.Namespace) -> float:
    """Do one part here; the peak of this process, or of its memory on the device, in MiB."""
    if options.part != "imports":
        embeddings, labels = identities(options)
        if options.part == "products":
            products(embeddings)()
        else:
            {"triune": ours, **PEER_STEPS}[options.part](embeddings, labels)()
    if options.device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return own_peak()


def agreement(mine: tuple[float, float], theirs: tuple[float, float]) -> str:
    """Speed counts only between equal results."""
    # Blocked products round the last bit of a score otherwise than one product: a few pairs change places.
    equal = all(math.isclose(a, b, abs_tol=1e-6) for a, b in zip(mine, theirs))
    gaps = [abs(a - b) for a, b in zip(mine, theirs)]
    return f"values {'equal' if equal else 'NOT EQUAL'} (AUC off by {gaps[0]:.1e}, TPR@FPR by {gaps[1]:.1e})"


def met(holds: bool, judged: bool) -> str:
    """A target says something of its own size only."""
    if not judged:
        return "not judged at this size"
    return "holds" if holds else "DOES NOT HOLD"


def heading(options: argparse.Namespace) -> str:
    """What was measured, where and with which versions."""
    packages = ("torch", "numba", "numpy", "triton", *PEERS)
    device = f" On one {torch.cuda.get_device_name()}." if options.device == "cuda" else ""
    return (
        f"# Verification over all pairs, N = {options.items:,}\n\n"
        f"{described(packages)}{device}\n\nD = {options.dim}, {options.per_identity} items an "
        f"identity, noise {options.noise}, float32, cosine, median of {options.repeats} turns. Each contender gives "
        f"AUC and TPR@FPR=5%; the products are the upper triangle's blocks alone.\n"
    )


if __name__ == "__main__":
    main()
