"""Embedding files: images a second against a bare loop over a DataLoader, memory over many images, and after a kill.

    python benchmarks/embedding.py                # 4,000 images timed, 20,000 embedded; about 5 minutes
    python benchmarks/embedding.py --quick        # small, to see that it runs
    python benchmarks/embedding.py --write PATH   # also write the tables to a Markdown file

The contenders take turns on the same files in one process, so that a slow minute of the machine slows all; medians, and
the ratio of them. The bare loop has as many worker processes as there are cores; the run in use decodes in threads.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import polars
import torch
from machine import described
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from triune.data.preprocessing import MEAN, STD
from triune.model.network import MultiTaskModel
from triune.run.card import ModelCard, Network
from triune.run.folder import save_model
from triune.serving.loaded import LoadedRun, load
from triune.serving.networks import BATCH

SIDE, NETWORK_SIDE = 256, 64


class Files(Dataset[torch.Tensor]):
    """JPEG files as anybody reads them: decoded whole, or at the scale that is needed (``draft``)."""

    def __init__(self, paths: Sequence[Path], draft: bool) -> None:
        self.paths, self.draft = paths, draft
        self.mean, self.std = (torch.tensor(each[3])[:, None, None] for each in (MEAN, STD))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> torch.Tensor:
        with Image.open(self.paths[place]) as file:
            if self.draft:
                file.draft(None, (2 * NETWORK_SIDE, 2 * NETWORK_SIDE))
            image = file.convert("RGB").resize((NETWORK_SIDE, NETWORK_SIDE), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        return (pixels - self.mean) / self.std


def bare(model: MultiTaskModel, paths: Sequence[Path], draft: bool) -> np.ndarray:
    """Embeddings by a loop that does nothing else."""
    loader = DataLoader(Files(paths, draft), batch_size=BATCH, num_workers=os.cpu_count() or 1)
    with torch.inference_mode():
        return torch.cat([model.embed(images) for images in loader]).numpy()


def write_images(folder: Path, count: int) -> list[Path]:
    """JPEG files of smooth colours and some noise, about 20 KiB each."""
    generator = np.random.default_rng(0)
    noise = generator.normal(0, 12, (8, SIDE, SIDE, 3))
    paths = []
    for k in range(count):
        coarse = Image.fromarray(generator.integers(0, 255, (6, 6, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) + noise[k % 8]
        paths.append(folder / f"{k:06d}.jpg")
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(paths[-1], quality=85)
    return paths


def write_run(folder: Path) -> LoadedRun:
    """A network by chance: what it says does not matter, how fast it says it does."""
    torch.manual_seed(0)
    network = Network(
        backbone="resnet18", num_classes=0, mask_channels=0, embedding_dim=128, in_channels=3, decoder="unet",
        decoder_channels=(16, 8, 8, 8, 8), embedding_stage=-1, pooling="avg", mask_pooling=False, dropout=0.0,
    )  # fmt: skip
    seen = {"size": (NETWORK_SIDE, NETWORK_SIDE), "fit": "squash", "interpolation": "bicubic", "boxes": True}
    card = ModelCard(
        model=network, classes=[], channels=3, metric="cosine", image_bits=None, mean=MEAN[3], std=STD[3], **seen
    )
    save_model(folder / "model.safetensors", MultiTaskModel(**network.model_dump(), pretrained=False), card)
    return load(folder / "model.safetensors", device="cpu")


def timed(contenders: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each, in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, contender in contenders.items():
            start = time.perf_counter()
            contender()
            seconds[name].append(time.perf_counter() - start)
    return {name: median(each) for name, each in seconds.items()}


def speed(folder: Path, count: int, repeats: int) -> list[str]:
    paths = write_images(folder, count)
    run = write_run(folder)
    model: MultiTaskModel = run.network.model  # type: ignore[attr-defined]
    np.testing.assert_allclose(run.embed(paths[:200]), bare(model, paths[:200], True), atol=2e-2)
    found = timed(
        {
            "run.embed": lambda: run.embed(paths),
            "bare loop": lambda: bare(model, paths, False),
            "bare loop, JPEG at the scale that is needed": lambda: bare(model, paths, True),
        },
        repeats,
    )
    rows = ["| | images/s | run.embed is |", "|---|---|---|"]
    for name, seconds in found.items():
        rows.append(f"| {name} | {count / seconds:,.0f} | {seconds / found['run.embed']:.2f}x as fast |")
    return [f"{count:,} JPEG files of {SIDE} x {SIDE}, resnet18 at {NETWORK_SIDE}, batches of {BATCH}:", "", *rows]


def memory(folder: Path, count: int) -> list[str]:
    """`triune embed` of many images: resident MiB after each quarter; killed in the middle, and given again."""
    write_images(folder, count)
    write_run(folder)
    command = [sys.executable, "-m", "triune", "embed", str(folder / "model.safetensors"), str(folder)]

    def embed(output: Path, until: float | None) -> tuple[list[float], str]:
        process = subprocess.Popen([*command, "--output", str(output)], stderr=subprocess.PIPE, text=True)
        levels: dict[int, float] = {}
        parts = -(-count // 1024)
        while process.poll() is None:
            done = len(list(Path(f"{output}.parts").glob("*.parquet"))) if Path(f"{output}.parts").exists() else 0
            status = Path(f"/proc/{process.pid}/status").read_text() if process.poll() is None else ""
            for line in status.splitlines():
                if line.startswith("VmRSS"):
                    levels[4 * done // parts] = int(line.split()[1]) / 1024
            if until is not None and done >= until * parts:
                process.send_signal(signal.SIGKILL)
            time.sleep(0.02)
        assert process.stderr is not None
        return [levels[quarter] for quarter in sorted(levels)], process.stderr.read()

    levels, _ = embed(folder / "whole.parquet", None)
    embed(folder / "killed.parquet", 0.5)
    _, said = embed(folder / "killed.parquet", None)
    both = [polars.read_parquet(folder / f"{name}.parquet") for name in ("whole", "killed")]
    assert both[0]["image"].equals(both[1]["image"])
    rows = [np.array(each["embedding"].to_list()) for each in both]
    shown = ", ".join(f"{level:,.0f}" for level in levels)
    return [
        f"`triune embed` of {count:,} images: resident MiB in each quarter and while it joins the parts: {shown}.",
        f"Killed in the middle and given again: {said.strip()}; largest difference of the embeddings from those of the "
        f"unbroken command: {np.abs(rows[0] - rows[1]).max():.1e}.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", type=Path, help="Markdown file for the tables")
    options = parser.parse_args()
    timed_images, many = (300, 3_000) if options.quick else (4_000, 20_000)
    head = ["# Embedding files", "", described(("torch", "torchvision", "timm", "pillow", "numpy")), ""]
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        lines = [*head, *speed(Path(one), timed_images, options.repeats), "", *memory(Path(other), many)]
    print("\n".join(lines))
    if options.write is not None:
        options.write.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
