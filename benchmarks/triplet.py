"""The triplet core against pytorch-metric-learning, its own plain-torch path and the matrix products it cannot avoid.

    python benchmarks/triplet.py                 # everything, about ten minutes on two cores
    python benchmarks/triplet.py --quick         # two sizes
    python benchmarks/triplet.py --one-thread    # processor time of one thread
    python benchmarks/triplet.py --device cuda   # on a GPU, and the memory of the GPU
    python benchmarks/triplet.py --write PATH    # also write the tables to a Markdown file

Contenders take turns in one process, so that a slow minute of the machine slows all of them; medians and ratios are
given. On a machine that others use at the same time, ``--one-thread`` counts the processor time of one thread instead
of the time on the wall. Peak memory is what a step adds, sampled every millisecond in a process of its own.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import torch

from triune.kernels.paths import choose_path
from triune.losses import mining as mining_module, triplet_sums
from triune.losses.mining import mine_triplets
from triune.losses.triplet import triplet_loss

WIDTH = 128
MARGIN = 0.2
SIZES = [(b, k) for b in (256, 1024, 4096, 8192) for k in (2, 4, 16, 64)]
GPU_SIZES = [(b, k) for b in (1024, 4096, 8192, 16384) for k in (4, 16)]
STRATEGIES = ("hard", "batch_hard", "semihard", "random")
# Cubic lists: beyond this many triplets pytorch-metric-learning needs more memory than the machine has.
PEER_TRIPLETS = 20_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two sizes, few rounds")
    parser.add_argument("--one-thread", action="store_true", help="processor time of one thread, not wall time")
    parser.add_argument("--write", type=Path, help="Markdown file for the tables")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--memory", nargs=3, metavar=("CONTENDER", "B", "K"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        print(peak_memory(options.memory[0], *map(int, options.memory[1:])))
        return
    if options.device == "cuda":
        on_a_gpu(options)
        return
    sizes = [(256, 4), (1024, 4)] if options.quick else SIZES
    rounds = 5 if options.quick else 7
    clock = time.perf_counter
    if options.one_thread:
        torch.set_num_threads(1)
        clock = time.process_time
    timer = Timer(clock, rounds)
    report = Report()
    report.say(f"# Triplet core\n\n{machine()} {timer}\n")
    all_triplets(report, sizes, timer)
    other_losses(report, [(b, k) for b, k in sizes if k in (4, 16)], timer)
    mining(report, [(b, k) for b, k in sizes if b <= 4096], timer)
    half_precision(report, timer)
    memory(report, [b for b, k in sizes if k == 4])
    if options.write:
        options.write.write_text("\n".join(report.lines) + "\n")


def on_a_gpu(options: argparse.Namespace) -> None:
    """The same comparisons with everything on the GPU, whose own matrix products are the floor."""
    torch.set_default_device("cuda")
    torch.backends.cuda.matmul.allow_tf32 = False
    sizes = [(1024, 4), (4096, 4), (8192, 4)] if options.quick else [(b, k) for b, k in GPU_SIZES]
    timer = Timer(on_device_clock, 5 if options.quick else 15)
    report = Report()
    report.say(f"# Triplet core on a GPU\n\n{machine()} On one {torch.cuda.get_device_name()}. {timer}\n")
    all_triplets(report, sizes, timer)
    other_losses(report, sizes, timer)
    mining(report, sizes, timer)
    half_precision(report, timer)
    report.header("Peak memory of one step on the device, 4 a class, D = 128, MiB", "B", "all", "batch_hard", "B × B")
    for b in (4096, 16384, 65536):
        cells = []
        for mining_name in ("all", "batch_hard"):
            x, labels = batch(b, 4)
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            loss_step(x, labels, mining=mining_name)()
            cells.append(f"{(torch.cuda.max_memory_allocated() - before) / 2**20:.0f}")
        report.row(b, *cells, f"{b * b * 4 / 2**20:.0f}")
    if options.write:
        options.write.write_text("\n".join(report.lines) + "\n")


def on_device_clock() -> float:
    """Seconds, once the device has done all that it was given."""
    torch.cuda.synchronize()
    return time.perf_counter()


class Report:
    """Lines, printed as they come and kept."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        print(line, flush=True)
        self.lines.append(line)

    def row(self, *cells: object) -> None:
        self.say("| " + " | ".join(map(str, cells)) + " |")

    def header(self, title: str, *cells: str) -> None:
        self.say(f"\n## {title}\n")
        self.row(*cells)
        self.row(*["---"] * len(cells))


def all_triplets(report: Report, sizes: list[tuple[int, int]], timer: Timer) -> None:
    report.header(
        f"All triplets, hinge, forward and backward, D = {WIDTH}, float32 (peer: pytorch-metric-learning)",
        "B", "K", "ours ms", "two products ms", "ours / products", "plain torch / ours", "peer / ours",
    )  # fmt: skip
    for b, k in sizes:
        x, labels = batch(b, k)
        contenders = {"ours": loss_step(x, labels), "floor": two_products(x)}
        if b <= 4096:
            contenders["torch"] = plain_torch(loss_step(x, labels))
        if b * (k - 1) * (b - k) <= PEER_TRIPLETS:
            contenders["peer"] = peer_step(x, labels)
            check_equal(contenders["ours"], contenders["peer"])
        t = timer.interleave(contenders)
        ratios = [f"{t[name] / t['ours']:.1f}×" if name in t else "–" for name in ("torch", "peer")]
        report.row(b, k, ms(t["ours"]), ms(t["floor"]), f"{t['ours'] / t['floor']:.2f}×", *ratios)


def other_losses(report: Report, sizes: list[tuple[int, int]], timer: Timer) -> None:
    kinds = {
        "soft": {"margin": "soft"},
        "gap (0, m]": {"gap": (0.0, MARGIN)},
        "cosine": {"metric": "cosine"},
        "semihard": {"mining": "semihard"},
        "hard": {"mining": "hard"},
        "batch_hard": {"mining": "batch_hard"},
    }
    report.header("Other losses, forward and backward, as multiples of two matrix products", "B", "K", *kinds)
    for b, k in sizes:
        x, labels = batch(b, k)
        contenders = {name: loss_step(x, labels, **options) for name, options in kinds.items()}
        t = timer.interleave({"floor": two_products(x), **contenders})
        report.row(b, k, *(f"{t[name] / t['floor']:.2f}×" for name in kinds))


def mining(report: Report, sizes: list[tuple[int, int]], timer: Timer) -> None:
    report.header("mine_triplets as multiples of one matrix product", "B", "K", *STRATEGIES)
    for b, k in sizes:
        x, labels = batch(b, k)
        held, out = x.detach(), torch.empty(b, b)
        contenders: dict[str, Callable[[], object]] = {"floor": partial(torch.mm, held, held.T, out=out)}
        contenders |= {name: partial(mine_triplets, held, labels, name) for name in STRATEGIES}
        t = timer.interleave(contenders)
        report.row(b, k, *(f"{t[name] / t['floor']:.2f}×" for name in STRATEGIES))


def half_precision(report: Report, timer: Timer) -> None:
    report.header(
        "Half precision, 2048 × 512, 4 a class, forward and backward", "loss", "float32 ms", "float16", "bfloat16"
    )
    for mining in ("all", "semihard", "batch_hard"):
        x, labels = batch(2048, 4, 512)
        steps = {}
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            steps[str(dtype)] = loss_step(x.detach().to(dtype).requires_grad_(), labels, mining=mining)
        t = timer.interleave(steps)
        full = t["torch.float32"]
        report.row(mining, ms(full), *(f"{t[f'torch.{name}'] / full:.2f}×" for name in ("float16", "bfloat16")))


def memory(report: Report, sizes: list[int]) -> None:
    report.header("Peak memory of one step, all triplets, 4 a class, MiB", "B", "ours", "plain torch", "peer", "B × B")
    for b in sizes:
        cells = []
        for name in ("ours", "torch", "peer"):
            if name == "peer" and b * 3 * (b - 4) > PEER_TRIPLETS:
                cells.append("–")
                continue
            command = [sys.executable, __file__, "--memory", name, str(b), "4"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            cells.append(f"{float(done.stdout):.0f}")
        report.row(b, *cells, f"{b * b * 4 / 2**20:.0f}")


def peak_memory(name: str, b: int, k: int) -> float:
    """What one step adds at most, after a small step has loaded everything, in MiB."""
    make = {"ours": loss_step, "torch": lambda x, labels: plain_torch(loss_step(x, labels)), "peer": peer_step}[name]
    make(*batch(64, 4))()
    step = make(*batch(b, k))
    samples, done = [resident()], threading.Event()

    def watch() -> None:
        while not done.wait(0.001):
            samples.append(resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    step()
    done.set()
    watcher.join()
    return max(samples) - samples[0]


def resident() -> float:
    """Memory of this process, in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def batch(b: int, k: int, width: int = WIDTH) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit vectors around class centres, shuffled: about half of the triplets are active, as early in training."""
    generator = torch.Generator().manual_seed(0)
    with torch.device("cpu"):
        labels = torch.arange(b) // k
        centres = torch.randn(b // k + 1, width, generator=generator)
        x = centres[labels] + 2 * torch.randn(b, width, generator=generator)
        shuffled = torch.randperm(b, generator=generator)
    unit = torch.nn.functional.normalize(x)[shuffled]
    there = torch.get_default_device()
    return unit.to(there).requires_grad_(), labels[shuffled].to(there)


def loss_step(x: torch.Tensor, labels: torch.Tensor, **options: object) -> Callable[[], tuple[torch.Tensor, ...]]:
    def step() -> tuple[torch.Tensor, ...]:
        loss = triplet_loss(x, labels, **{"margin": MARGIN, **options}).loss
        return loss, torch.autograd.grad(loss, x)[0]

    return step


def peer_step(x: torch.Tensor, labels: torch.Tensor) -> Callable[[], tuple[torch.Tensor, ...]]:
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.losses import TripletMarginLoss

    criterion = TripletMarginLoss(margin=MARGIN, distance=LpDistance(normalize_embeddings=False))

    def step() -> tuple[torch.Tensor, ...]:
        loss = criterion(x, labels)
        return loss, torch.autograd.grad(loss, x)[0]

    return step


def two_products(x: torch.Tensor) -> Callable[[], object]:
    """The Gram matrix, and a matrix of its size times the embeddings."""
    held, out, grad = x.detach(), torch.empty(len(x), len(x)), torch.empty_like(x)

    def products() -> None:
        torch.mm(held, held.T, out=out)
        torch.mm(out, held, out=grad)

    return products


def plain_torch(step: Callable[[], object]) -> Callable[[], object]:
    @contextmanager
    def only_torch():
        for module in (triplet_sums, mining_module):
            module.choose_path = lambda x, y: "torch"
        try:
            yield
        finally:
            for module in (triplet_sums, mining_module):
                module.choose_path = choose_path

    def run() -> object:
        with only_torch():
            return step()

    return run


def check_equal(ours: Callable[[], tuple[torch.Tensor, ...]], peer: Callable[[], tuple[torch.Tensor, ...]]) -> None:
    """Speed counts only between equal results."""
    for a, b in zip(ours(), peer()):
        assert (a - b).norm() <= 1e-3 * b.norm(), (a, b)


class Timer:
    """Median seconds of contenders that take turns, by a clock, for some rounds or until a budget is spent."""

    def __init__(self, clock: Callable[[], float], rounds: int, budget: float = 20.0) -> None:
        self.clock, self.rounds, self.budget = clock, rounds, budget

    def __str__(self) -> str:
        if self.clock is time.process_time:
            return "Processor time of one thread (the machine was shared with other work)."
        return "Time on the wall."

    def interleave(self, contenders: dict[str, Callable[[], object]]) -> dict[str, float]:
        """Each runs once to warm up, then they take turns, three at least."""
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for run in contenders.values():
            run()
        begin = time.perf_counter()
        for turn in range(self.rounds):
            for name, run in contenders.items():
                start = self.clock()
                run()
                times[name].append(self.clock() - start)
            if turn >= 2 and time.perf_counter() - begin > self.budget:
                break
        return {name: median(each) for name, each in times.items()}


def ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f}"


def machine() -> str:
    """Processor, memory, versions, load; no names."""
    import numba
    import numpy
    import pytorch_metric_learning

    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}; {model}, {os.cpu_count()} cores "
        f"({torch.get_num_threads()} torch threads, load {os.getloadavg()[0]:.1f} at the start), {pages:.0f} GiB; "
        f"Python {platform.python_version()}, torch {torch.__version__}, numba {numba.__version__}, "
        f"numpy {numpy.__version__}, pytorch-metric-learning {pytorch_metric_learning.__version__}."
    )


if __name__ == "__main__":
    main()
