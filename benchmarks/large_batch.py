"""Does a batch of 8192 train in 4 GiB? Peak memory of a GradCache step, and of the triplet loss alone.

    python benchmarks/large_batch.py                 # one step of resnet18 on 8192 images of 64 x 64
    python benchmarks/large_batch.py --steps 2 --write PATH

Each part runs in a process of its own, whose peak resident memory is the operating system's own count: PyTorch, the
images, the network and the optimiser are all in it.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from triune.losses.cached_gradients import grad_cache
from triune.losses.triplet import TripletLoss

LIMIT = 4 * 2**30
PER_CLASS = 4
WIDTH = 128
PIXELS = 64
PARTS = ("imports", "loss", "grad_cache")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8192, help="images a step")
    parser.add_argument("--chunk", type=int, default=128, help="images at a time")
    parser.add_argument("--steps", type=int, default=1, help="optimiser steps")
    parser.add_argument("--write", type=Path, help="Markdown file for the table")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(*run(options.part, options.batch, options.chunk, options.steps))
        return
    lines = [
        heading(options.batch, options.chunk, options.steps),
        "| part | peak resident MiB | under 4 GiB | seconds, set-up included |",
        "| --- | --- | --- | --- |",
    ]
    for part in PARTS:
        seconds, peak = measured(part, options)
        time_column = "–" if part == "imports" else f"{seconds:.1f}"
        lines.append(f"| {part} | {peak / 2**20:.0f} | {'yes' if peak < LIMIT else 'NO'} | {time_column} |")
    print("\n".join(lines))
    if options.write:
        options.write.write_text("\n".join(lines) + "\n", encoding="utf-8")


def measured(part: str, options: argparse.Namespace) -> tuple[float, int]:
    """Seconds and peak bytes, from a fresh process: a peak never goes down again within one."""
    command = [sys.executable, __file__, "--part", part]
    for name in ("batch", "chunk", "steps"):
        command += [f"--{name}", str(getattr(options, name))]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    return float(answer[-2]), int(answer[-1])


def run(part: str, batch: int, chunk: int, steps: int) -> tuple[float, int]:
    """Do one part here; its seconds and this process's peak bytes."""
    torch.manual_seed(0)
    labels = torch.arange(batch) // PER_CLASS
    start = time.perf_counter()
    if part == "loss":
        loss_alone(labels, steps)
    elif part == "grad_cache":
        train(labels, chunk, steps)
    seconds = time.perf_counter() - start
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def loss_alone(labels: Tensor, steps: int) -> None:
    """Forward and backward of every triplet of the batch."""
    embeddings = torch.randn(len(labels), WIDTH, requires_grad=True)
    for _ in range(steps):
        TripletLoss(mining="all")(embeddings, labels).backward()


def train(labels: Tensor, chunk: int, steps: int) -> None:
    """Steps of a network on synthetic images, all of which are one batch of every triplet."""
    network = timm.create_model("resnet18", pretrained=False, num_classes=WIDTH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    images = torch.randn(len(labels), 3, PIXELS, PIXELS)
    criterion = TripletLoss(mining="all")
    before = [parameter.detach().clone() for parameter in network.parameters()]
    for step in range(steps):
        optimizer.zero_grad()
        loss = grad_cache(network, images, lambda embeddings: criterion(embeddings, labels), chunk)
        check_gradients(network)
        optimizer.step()
        print(f"step {step}: loss {loss.item():.4f}", file=sys.stderr)
    if all(torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True)):
        raise RuntimeError("no parameter moved: this was not a training step")


def check_gradients(network: nn.Module) -> None:
    """A figure for a step that lost its gradient would mean nothing."""
    for name, parameter in network.named_parameters():
        if parameter.grad is None or not torch.isfinite(parameter.grad).all():
            raise RuntimeError(f"{name} has no finite gradient")


def heading(batch: int, chunk: int, steps: int) -> str:
    """What was measured, where and with which versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"# A batch of {batch} in 4 GiB\n\n"
        f"{datetime.date.today()}; {platform.machine()}, {os.cpu_count()} cores ({torch.get_num_threads()} torch "
        f"threads), {memory:.0f} GiB; Python {platform.python_version()}, torch {torch.__version__}, "
        f"timm {timm.__version__}.\n\nresnet18, {batch} images of {PIXELS} x {PIXELS} in chunks of {chunk}, "
        f"{WIDTH} dimensions, {PER_CLASS} a class, float32, every triplet, AdamW; {steps} step(s).\n"
    )


if __name__ == "__main__":
    main()
