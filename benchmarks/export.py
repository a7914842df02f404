"""A run by ONNX Runtime against the same run by PyTorch: times of a batch, and what both verify on ETH-80.

Usage:
    python benchmarks/export.py RUN                    # writes benchmarks/results/export.md; four minutes
    python benchmarks/export.py RUN --quick --output - # half a minute, to the terminal

RUN is a run trained on ETH-80 whose images still lie where they did.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import described

import triune
from triune.errors import InputError
from triune.serving.exported.card import LOOKS
from triune.serving.exported.export import whole_network
from triune.serving.loaded import LoadedRun, load

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TARGET = 1.3
BATCHES = (1, 32)
PACKAGES = ("triune", "torch", "onnx", "onnxruntime", "onnxscript", "timm", "numpy")

START = """
import sys, time
start = time.perf_counter(), time.process_time()
import triune
run = triune.load(sys.argv[1]{device})
run.verify(sys.argv[2], sys.argv[3])
print(time.perf_counter() - start[0], time.process_time() - start[1], "torch" in sys.modules)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--quick", action="store_true", help="few turns and few images")
    parser.add_argument("--output", default=str(HERE / "results" / "export.md"), help="- for the terminal")
    asked = parser.parse_args()
    turns, check = (5, 64) if asked.quick else (31, 1000)
    with tempfile.TemporaryDirectory(prefix="triune-export-") as folder:
        text = report(asked.run, Path(folder), turns, check)
    if asked.output == "-":
        print(text)
    else:
        Path(asked.output).write_text(text, encoding="utf-8")
        print(asked.output)


def report(source: Path, folder: Path, turns: int, check: int) -> str:
    run = load(source, device="cpu")
    lines = [
        "# An exported file against its run",
        "",
        f"By `python benchmarks/export.py RUN`. {described(PACKAGES)} Processor only. The load says how busy the "
        "machine was: what is compared was done in turns, and the median of the turns counts.",
        "",
        f"The run: {source.name}, {run.network.card.backbone}, "
        f"images of {' × '.join(map(str, run.network.preprocessing.size))}.",
        "",
    ]
    whole = run.export(folder / "whole.onnx", check=check)
    lines += equality(whole)
    files = {"whole": load(whole.path, device="cpu")}
    if run.dim and (run.classes or run.network.card.masks):
        files["embedding"] = load(run.export(folder / "embedding.onnx", part="embedding", check=16).path, device="cpu")
    lines += times(run, files, turns)
    lines += in_8_bits(run, folder, check)
    return "\n".join(lines + starts(source, whole.path, run)) + "\n"


def rows(found: Sequence[Any], digits: int) -> list[str]:
    """A row a figure: of which images, what, before and after."""
    lines = []
    for each in found:
        name = f"{each.shown} {each.kind}"
        figures = [(f"TPR@FPR {rate.fpr:g}", (rate.before, rate.after)) for rate in each.rates]
        figures += [(word, both) for word, both in (("accuracy", each.accuracy), ("IoU", each.iou)) if both is not None]
        lines += [f"| {name} | {word} | {old:.{digits}f} | {new:.{digits}f} |" for word, (old, new) in figures]
    return lines


def equality(whole: triune.serving.exported.export.Export) -> list[str]:
    """What both verify, and how far their answers lie apart."""
    lines = ["## The same answers", "", "| images | figure | PyTorch | ONNX Runtime |", "|---|---|---|---|"]
    lines += rows(whole.checked, digits=6)
    worst = max((each.embedding or 0.0) for each in whole.checked)
    shares = max((each.probability or 0.0) for each in whole.checked)
    pixels = max((each.masks or 0.0) for each in whole.checked)
    return [
        *lines,
        "",
        f"The largest difference of a number of an embedding is {worst:.1e} (target: 1e-4), of a probability "
        f"{shares:.1e}; {pixels:.4%} of the mask pixels differ.",
        "",
    ]


def times(run: LoadedRun, files: dict[str, LoadedRun], turns: int) -> list[str]:
    """Milliseconds of a batch by each, bytes of images in and answers out."""
    lines = [
        "## Times",
        "",
        f"Prepared images in, answers out, without decoding; {turns} turns; PyTorch in inference mode with "
        f"{torch.get_num_threads()} threads, ONNX Runtime with {os.environ.get('OMP_NUM_THREADS') or os.cpu_count()}.",
        "",
        "| answers | batch | PyTorch, ms | ONNX Runtime, ms | times as fast | target |",
        "|---|---|---|---|---|---|",
    ]
    for part, file in files.items():
        module = whole_network(run.network, "all" if part == "whole" else "embedding")
        module.looks = False
        wanted = [each.name for each in file.network.session.get_outputs() if each.name not in LOOKS]
        for batch in BATCHES:
            images = np.random.default_rng(batch).integers(
                0, 256, (batch, *run.network.preprocessing.size, run.network.trained.channels), dtype=np.uint8
            )
            tensor = torch.from_numpy(images)

            def by_torch(tensor: torch.Tensor = tensor, module: torch.nn.Module = module) -> None:
                with torch.inference_mode():
                    module(tensor)

            def by_onnx(images: np.ndarray = images, file: LoadedRun = file, wanted: list[str] = wanted) -> None:
                file.network.run(images, wanted)

            ours, theirs = interleaved(by_torch, by_onnx, turns)
            faster = ours / theirs
            met = "met" if faster >= TARGET else "not met"
            said = "all heads" if part == "whole" else "embedding"
            lines.append(f"| {said} | {batch} | {ours:.2f} | {theirs:.2f} | {faster:.2f} | ≥ {TARGET}: {met} |")
    return [*lines, ""]


def interleaved(one: Callable[[], None], other: Callable[[], None], turns: int) -> tuple[float, float]:
    """Median milliseconds of two things that are done in turns, after two turns that do not count."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(turns + 2):
        for step, told in zip((one, other), taken, strict=True):
            start = time.perf_counter()
            step()
            told.append(1000 * (time.perf_counter() - start))
    return statistics.median(taken[0][2:]), statistics.median(taken[1][2:])


def in_8_bits(run: LoadedRun, folder: Path, check: int) -> list[str]:
    """What an int8 file costs and saves."""
    try:
        small = run.export(folder / "int8.onnx", int8=True, check=check)
    except InputError as error:
        return ["## 8 bits", "", f"Not measured: {error}.", ""]
    assert small.gains is not None
    lines = ["## 8 bits", "", "| images | figure | float32 | int8 |", "|---|---|---|---|"]
    lines += rows(small.int8, digits=4)
    lines.append(f"| | megabytes | {small.gains.before / 1e6:.1f} | {small.gains.after / 1e6:.1f} |")
    lines += [f"| | ms, {each.batch} at a time | {each.before:.1f} | {each.after:.1f} |" for each in small.gains.times]
    return [*lines, ""]


def starts(source: Path, file: Path, run: LoadedRun) -> list[str]:
    """How long it takes from a fresh interpreter to the first verdict."""
    from triune.run.judged_items import read_judged_items

    images = read_judged_items(source / "embeddings.parquet")["image"].to_list()[:2]
    lines = [
        "## From nothing to the first verdict",
        "",
        "A fresh interpreter, `triune.load`, one `verify`; the median of five.",
        "",
        "| of | seconds | of them the processor's | torch is imported |",
        "|---|---|---|---|",
    ]
    for name, path, device in (("the run folder", source, ", device='cpu'"), ("the file", file, "")):
        found = []
        for _ in range(5):
            command = [sys.executable, "-c", START.format(device=device), str(path), *images]
            said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
            found.append((float(said[0]), float(said[1]), said[2]))
        wall, own = (statistics.median(each[k] for each in found) for k in (0, 1))
        lines.append(f"| {name} | {wall:.2f} | {own:.2f} | {'yes' if found[0][2] == 'True' else 'no'} |")
    return lines


if __name__ == "__main__":
    main()
