"""Retrieval, every row a query, against pytorch-metric-learning, torchmetrics, open-metric-learning and the products.

    python benchmarks/retrieval.py                       # N = 60,000
    python benchmarks/retrieval.py --quick               # small, to see that it runs
    python benchmarks/retrieval.py --oml_python PYTHON   # also open-metric-learning, by a Python that has it
    python benchmarks/retrieval.py --write PATH          # also write the tables to a Markdown file

Contenders take turns in one process, so that a slow minute of the machine slows all of them; medians and ratios are
given. open-metric-learning needs an older NumPy and so a Python of its own: it is timed there, in between. It and
torchmetrics hold every pair in memory and are compared at a smaller N. Peak memory is that of a process which runs one
contender alone.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from machine import described, importable, own_peak
from torch import Tensor

FLOOR_ROWS = 1024
KS = (1, 5, 10)
PML = "pytorch-metric-learning"
OML = "open-metric-learning"
Values = dict[str, float]
Step = Callable[[], Values]

OML_SCRIPT = """
import inspect, json, resource, sys, time
import numpy, torch
from oml.functional.metrics import calc_retrieval_metrics
torch.set_num_threads(int(sys.argv[2]))
data = numpy.load(sys.argv[1])
x, labels = torch.from_numpy(data["embeddings"]), torch.from_numpy(data["labels"])
wanted = dict(cmc_top_k=(1, 5, 10), precision_top_k=(1,), map_top_k=(10,))
for _ in range(2):
    start = time.perf_counter()
    distances, relevant = torch.cdist(x, x), labels[:, None] == labels[None]
    if "retrieved_ids" in inspect.signature(calc_retrieval_metrics).parameters:
        distances.fill_diagonal_(float("inf"))
        relevant.fill_diagonal_(False)
        nearest = distances.topk(10, largest=False).indices
        truth = [row.nonzero()[:, 0] for row in relevant]
        found = calc_retrieval_metrics(list(nearest), truth, **wanted)
    else:
        itself = torch.eye(len(x), dtype=torch.bool)
        found = calc_retrieval_metrics(distances, relevant, itself, fmr_vals=(), **wanted)
    seconds = time.perf_counter() - start
try:
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    peak = int(line.split()[1]) / 1024
except OSError:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
values = {f"recall@{k}": float(found["cmc"][k]) for k in (1, 5, 10)} | {"MAP@10 over hits": float(found["map"][10])}
print(json.dumps({"seconds": seconds, "peak": peak, "values": values}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=60_000)
    parser.add_argument("--small_items", type=int, default=5_000, help="items for peers that hold every pair")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--per_identity", type=int, default=10)
    parser.add_argument("--noise", type=float, default=1.7, help="length of the noise; a class centre has length 1")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each contender")
    parser.add_argument("--quick", action="store_true", help="2,000 and 500 items")
    parser.add_argument("--oml_python", help="a Python that has open-metric-learning")
    parser.add_argument("--write", type=Path, help="Markdown file for the tables")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.items, options.small_items = min(options.items, 2000), min(options.small_items, 500)
    if options.part:
        print(peak_memory(options))
        return
    report = Report()
    report.say(heading(options))
    whole(report, options)
    small(report, options)
    if options.write:
        options.write.write_text("\n".join(report.lines) + "\n", encoding="utf-8")


class Report:
    """Lines, printed as they come and kept."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        print(line, flush=True)
        self.lines.append(line)

    def table(self, seconds: dict[str, float], peaks: dict[str, float]) -> None:
        self.say("| contender | seconds | times of triune | peak MiB of its process |")
        self.say("| --- | --- | --- | --- |")
        for name, taken in seconds.items():
            self.say(f"| {name} | {taken:.3f} | {taken / seconds['triune']:.2f}× | {peaks[name]:.0f} |")


def whole(report: Report, options: argparse.Namespace) -> None:
    """Peers that need the nearest neighbours only."""
    report.say(f"\n## N = {options.items:,}\n")
    embeddings, labels = identities(options, options.items)
    names = ["triune", "products"]
    if importable("pytorch_metric_learning"):
        names.append(PML)
        report.say(f"{PML} searches with {neighbour_search()}.\n")
    else:
        report.say(f"{PML} skipped: it is not installed.\n")
    values, seconds = interleave({name: STEPS[name](embeddings, labels) for name in names}, options.repeats)
    peaks = {name: measured(name, options.items, options) for name in names}
    report.table(seconds, peaks)
    imports = measured("imports", options.items, options)
    report.say(f"\n`import torch` alone takes {imports:.0f} MiB.\n")
    if PML in names:
        compare(report, PML, values["triune"], values[PML])
        faster = seconds[PML] / seconds["triune"]
        verdict = "not judged at this size"
        if options.items == 60_000:
            verdict = "holds" if faster >= 2 else "DOES NOT HOLD"
        report.say(f"- {faster:.2f}× faster than {PML} (target at N = 60,000: at least 2×): {verdict}")


def small(report: Report, options: argparse.Namespace) -> None:
    """Peers that hold every pair."""
    report.say(f"\n## N = {options.small_items:,}, for peers that hold every pair\n")
    embeddings, labels = identities(options, options.small_items)
    steps = {name: STEPS[name](embeddings, labels) for name in ("triune", "products")}
    if importable("torchmetrics"):
        steps["torchmetrics"] = torchmetrics_step(embeddings, labels)
    else:
        report.say("torchmetrics skipped: it is not installed.\n")
    own = list(steps)
    clocks: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        if options.oml_python:
            path = Path(folder) / "embeddings.npz"
            np.savez(path, embeddings=embeddings.numpy(), labels=labels.numpy())
            step = oml_step(options.oml_python, path, clocks)
            try:
                step()
                steps[OML] = step
            except subprocess.CalledProcessError as error:
                report.say(f"{OML} skipped: its Python ended with status {error.returncode}; see its message.\n")
        else:
            report.say(f"{OML} skipped: no Python that has it was given (`--oml_python`).\n")
        values, seconds = interleave(steps, options.repeats, clocks)
    peaks = {name: measured(name, options.small_items, options) for name in own}
    if OML in steps:
        peaks[OML] = values[OML].pop("peak MiB")
    report.table(seconds, peaks)
    report.say("")
    for name in steps:
        if name not in ("triune", "products"):
            compare(report, name, values["triune"], values[name])


def ours(embeddings: Tensor, labels: Tensor) -> Step:
    from triune import retrieval_metrics

    def step() -> Values:
        found = retrieval_metrics(embeddings, labels, ks=KS)
        return {
            "precision@1": found.precision_at[1],
            "R-precision": found.r_precision,
            "MAP@R": found.map_at_r,
            "MAP": found.map,
            "MAP@10": found.map_at[10],
            "MAP@10 over hits": found.map_at_over_hits[10],
            "MRR": found.mrr,
            **{f"recall@{k}": found.recall_at[k] for k in KS},
        }

    return step


def pml_step(embeddings: Tensor, labels: Tensor) -> Step:
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN, FaissKNN

    names = {"precision_at_1": "precision@1", "r_precision": "R-precision", "mean_average_precision_at_r": "MAP@R"}
    # On unit vectors the Euclidean distance ranks as the cosine does. Without blocks, its own search takes N² floats.
    search = FaissKNN() if importable("faiss") else CustomKNN(LpDistance(), batch_size=1000)
    calculator = AccuracyCalculator(
        include=tuple(names), k="max_bin_count", device=torch.device("cpu"), knn_func=search
    )

    def step() -> Values:
        found = calculator.get_accuracy(embeddings, labels)
        return {ours: float(found[theirs]) for theirs, ours in names.items()}

    return step


def torchmetrics_step(embeddings: Tensor, labels: Tensor) -> Step:
    from torchmetrics.retrieval import RetrievalMAP, RetrievalMRR, RetrievalRPrecision

    kinds = {"MAP": RetrievalMAP, "MRR": RetrievalMRR, "R-precision": RetrievalRPrecision}

    def step() -> Values:
        others = ~torch.eye(len(labels), dtype=torch.bool)
        # It keeps scores in float32, of which its average precision of single queries is off by up to 0.07 (1.9.0);
        # its function is right in float64, and ours equals scikit-learn's (tests/retrieval/test_metrics.py).
        scores = (embeddings @ embeddings.T)[others]
        relevant = (labels[:, None] == labels)[others]
        queries = torch.arange(len(labels))[:, None].expand(-1, len(labels))[others]
        found = {}
        for name, kind in kinds.items():
            metric = kind(empty_target_action="skip")
            metric.update(scores, relevant, indexes=queries)
            found[name] = float(metric.compute())
        return found

    return step


def oml_step(python: str, data: Path, clocks: dict[str, float]) -> Step:
    """A fresh process each turn: its second round counts, and its own clock."""

    def step() -> Values:
        command = [python, "-c", OML_SCRIPT, str(data), str(torch.get_num_threads())]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
        told = json.loads(answer)
        clocks[OML] = told["seconds"]
        return {**told["values"], "peak MiB": told["peak"]}

    return step


def products(embeddings: Tensor, labels: Tensor) -> Step:
    """Every row with every row, by blocks into one buffer: each query ranks all, so that both triangles are needed."""
    buffer = torch.empty(min(FLOOR_ROWS, len(embeddings)), len(embeddings))

    def step() -> Values:
        for rows in embeddings.split(FLOOR_ROWS):
            torch.mm(rows, embeddings.T, out=buffer[: len(rows)])
        return {}

    return step


STEPS = {"triune": ours, "products": products, PML: pml_step, "torchmetrics": torchmetrics_step}


def identities(options: argparse.Namespace, items: int) -> tuple[Tensor, Tensor]:
    """Unit vectors around the centres of identities, shuffled."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(items) // options.per_identity
    centres = torch.randn(int(labels[-1]) + 1, options.dim, generator=generator)
    noise = torch.randn(items, options.dim, generator=generator)
    x = torch.nn.functional.normalize(centres[labels].add_(noise, alpha=options.noise))
    order = torch.randperm(items, generator=generator)
    return x[order], labels[order]


def interleave(
    steps: dict[str, Step], repeats: int, clocks: dict[str, float] | None = None
) -> tuple[dict[str, Values], dict[str, float]]:
    """Each runs once to warm up and to give its values, then they take turns; median seconds.

    A contender that writes to ``clocks`` has timed itself.
    """
    values = {name: step() for name, step in steps.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            taken = time.perf_counter() - start
            times[name].append((clocks or {}).get(name, taken))
    return values, {name: median(each) for name, each in times.items()}


def measured(part: str, items: int, options: argparse.Namespace) -> float:
    """Peak MiB of a fresh process: a peak never goes down again within one."""
    command = [sys.executable, __file__, "--part", part, "--items", str(items)]
    for name in ("dim", "per_identity", "noise"):
        command += [f"--{name}", str(getattr(options, name))]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])


def peak_memory(options: argparse.Namespace) -> float:
    """Do one part here; this process's peak resident MiB."""
    if options.part != "imports":
        STEPS[options.part](*identities(options, options.items))()
    return own_peak()


def compare(report: Report, peer: str, mine: Values, theirs: Values) -> None:
    """Speed counts only between equal results; products that round otherwise swap a few near-equal neighbours."""
    for name, value in theirs.items():
        same = "equal" if math.isclose(mine[name], value, abs_tol=1e-5) else "NOT EQUAL"
        report.say(f"- {peer}, {name}: {value:.7f}, triune {mine[name]:.7f}: {same}")


def neighbour_search() -> str:
    return "FAISS (IndexFlatL2)" if importable("faiss") else "its own CustomKNN, since faiss is not installed"


def heading(options: argparse.Namespace) -> str:
    """What was measured, where and with which versions."""
    packages = ("torch", "numba", "numpy", PML, "faiss-cpu", "torchmetrics")
    return (
        f"# Retrieval, every row a query\n\n"
        f"{described(packages)}\n\nD = {options.dim}, {options.per_identity} items an "
        f"identity, noise {options.noise}, float32, cosine, median of {options.repeats} turns. The products are the "
        f"whole matrix of scores, by blocks, alone."
    )


if __name__ == "__main__":
    main()
