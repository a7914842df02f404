"""Training: the framework's share of a step over a bare PyTorch loop, and images a second of the loader.

    python benchmarks/training.py                  # about fifteen minutes on two cores
    python benchmarks/training.py --quick          # small, to see that it runs
    python benchmarks/training.py --device cuda    # on a GPU
    python benchmarks/training.py --minutes 60     # also: memory of a training on 20,000 images, for so long
    python benchmarks/training.py --write PATH     # also write the tables to a Markdown file

A round trains the same network on the same batches by Lightning, as ``triune train`` does, and by a loop of thirty
lines with the same loader, loss, optimiser, clipping and schedule; rounds take turns. Time on the wall and processor
time of a step are given; where the machine has other work, the second is the one to look at.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from machine import described
from PIL import Image

from triune.data.dataset import Batch
from triune.model.network import MultiTaskModel
from triune.model.objective import Targets
from triune.run.loaders import ItemData
from triune.run.parser import parse_train
from triune.run.settings import TrainConfig
from triune.training.metric_loss import metric_loss
from triune.training.module import LoopSettings, TrainingModule
from triune.training.train import class_names, load_items, model_card, objective, quiet_lightning

MODELS = {
    "ResNet-18 at 64": ["--model.backbone", "resnet18", "--images.size", "64"],
    "ViT-tiny at 96": ["--model.backbone", "vit_tiny_patch16_224", "--images.size", "96", "--beta", "0"],
}
SMALL = ["--model.backbone", "resnet10t", "--images.size", "32"]
WARM = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small network, few images")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=0, help="of the training whose memory is watched")
    parser.add_argument("--write", type=Path, help="Markdown file for the tables")
    parser.add_argument("--part", choices=("long",), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    lines: list[str] = []

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    quiet_lightning()
    pl.seed_everything(0, verbose=False)
    say(f"# Training\n\n{described(('torch', 'lightning', 'timm', 'torchvision', 'numpy'))}")
    if options.device == "cuda":
        say(f"\nOn one {torch.cuda.get_device_name()}.")
    with tempfile.TemporaryDirectory() as place:
        table = made_images(Path(place), 20 if options.quick else 60, 32 if options.quick else 128)
        say("\n## A step\n")
        say("| network | Lightning ms | loop ms | ratio | processor: Lightning ms | loop ms | ratio |")
        say("| --- | --- | --- | --- | --- | --- | --- |")
        for name, flags in ({"small": SMALL} if options.quick else MODELS).items():
            shares(name, table, flags, options, say)
        loaders(Path(place), table, options.quick, say)
        if options.minutes:
            long_training(Path(place), options.minutes, say)
    if options.write:
        options.write.write_text("\n".join(lines) + "\n", encoding="utf-8")


def made_images(folder: Path, identities: int, side: int, each: int = 16) -> Path:
    """JPEG files of smooth patterns with a mask and a split: enough to decode, nothing to learn from."""
    g = np.random.default_rng(0)
    rows = ["image,mask,label,identity,split"]
    for i in range(identities):
        base = g.uniform(0, 255, (4, 4, 3)).astype(np.uint8)
        split = "train" if i < identities - 4 else "val" if i < identities - 2 else "test"
        for k in range(each):
            image = Image.fromarray((base + g.integers(0, 60, base.shape)).astype(np.uint8)).resize((side, side))
            mask = Image.fromarray((np.asarray(image)[..., 0] > 127).astype(np.uint8))
            name = folder / "images" / f"c{i % 4}" / f"{i}-{k}"
            name.parent.mkdir(parents=True, exist_ok=True)
            (folder / "masks").mkdir(exist_ok=True)
            image.save(name.with_suffix(".jpg"), quality=90)
            mask.save(folder / "masks" / f"{i}-{k}.png")
            rows.append(f"{name.with_suffix('.jpg')},{folder / 'masks' / f'{i}-{k}.png'},c{i % 4},{i},{split}")
    (folder / "items.csv").write_text("\n".join(rows) + "\n")
    return folder / "items.csv"


# --- a step -----------------------------------------------------------------------------------------------------------


def shares(name: str, table: Path, flags: list[str], options: argparse.Namespace, say: Callable[[str], None]) -> None:
    """A row: what a step takes by Lightning and by the loop."""
    fixed = ["--data", str(table), "--model.pretrained", "false", "--optimizer.average", "0", "--epochs", "1"]
    config = parse_train([*fixed, *flags])
    data = ItemData(load_items(config), config, class_names(load_items(config)))
    module = made_module(config, data)
    found: dict[str, list[tuple[float, float]]] = {"Lightning": [], "loop": []}
    for turn in range(options.rounds + 1):
        for which in ("Lightning", "loop") if turn % 2 else ("loop", "Lightning"):
            step = by_lightning if which == "Lightning" else by_loop
            times = step(config, data, module, options.device)
            if turn:  # the first round loads and compiles
                found[which].append(times)
    cells = []
    for kind in (0, 1):
        ours, bare = (median(times[kind] for times in found[which]) for which in found)
        ratio = median(a[kind] / b[kind] for a, b in zip(found["Lightning"], found["loop"], strict=True))
        cells += [f"{ours * 1e3:.1f}", f"{bare * 1e3:.1f}", f"{ratio:.3f}×"]
    say(f"| {name} | {' | '.join(cells)} |")


def made_module(config: TrainConfig, data: ItemData) -> TrainingModule:
    network = model_card(config, data).model
    model = MultiTaskModel(**network.model_dump(), pretrained=False)
    loop = LoopSettings(config.optimizer, config.metric, config.target_fpr, total_steps=10_000)
    criterion = metric_loss(config, len(data.training_identities))
    return TrainingModule(model.to(memory_format=torch.channels_last), objective(config, criterion, network), loop)


class Watch(pl.Callback):
    """When each step ended, by both clocks."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, float]] = []

    def on_train_batch_end(self, *_: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append((time.perf_counter(), time.process_time()))

    def step(self) -> tuple[float, float]:
        first, last = self.ends[WARM - 1], self.ends[-1]
        count = len(self.ends) - WARM
        return (last[0] - first[0]) / count, (last[1] - first[1]) / count


def by_lightning(config: TrainConfig, data: ItemData, module: TrainingModule, device: str) -> tuple[float, float]:
    watch = Watch()
    trainer = pl.Trainer(
        max_epochs=1, accelerator="gpu" if device == "cuda" else "cpu", devices=1, callbacks=[watch], logger=False,
        gradient_clip_val=config.optimizer.clip, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0, num_sanity_val_steps=0, use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(module, data)
    return watch.step()


def by_loop(config: TrainConfig, data: ItemData, module: TrainingModule, device: str) -> tuple[float, float]:
    """The same by hand."""
    watch = Watch()
    module = module.to(device)
    module.train()
    given = module.configure_optimizers()
    optimizer, schedule = given["optimizer"], given["lr_scheduler"]["scheduler"]
    for batch in data.train_dataloader():
        moved: Batch = batch.to(device, non_blocking=True)
        output = module.model(moved.images.contiguous(memory_format=torch.channels_last))
        terms = module.objective(output, Targets(moved.classes, moved.masks, moved.identities))
        optimizer.zero_grad()
        terms.total.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), config.optimizer.clip)
        optimizer.step()
        schedule.step()
        watch.on_train_batch_end()
    return watch.step()


# --- the loader -------------------------------------------------------------------------------------------------------


def loaders(folder: Path, table: Path, quick: bool, say: Callable[[str], None]) -> None:
    """Images a second from JPEG files against ImageFolder and a DataLoader, and once they are in memory."""
    from torch.utils.data import DataLoader
    from torchvision import datasets
    from torchvision.transforms import v2

    size, workers = 64, 2
    steps = [
        v2.Resize((size, size)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True),
        v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ]  # fmt: skip
    peer = DataLoader(
        datasets.ImageFolder(str(folder / "images"), v2.Compose(steps)), batch_size=64, num_workers=workers
    )
    plain = table.with_name("plain.csv")
    rows = [line.split(",") for line in table.read_text().splitlines()]
    plain.write_text("\n".join(f"{image},{label},{identity}" for image, _, label, identity, _ in rows))

    def ours(cache: int) -> ItemData:
        flags = ["--images.size", str(size), "--images.workers", str(workers), "--images.cache_mib", str(cache)]
        config = parse_train(["--data", str(plain), *flags, "--beta", "0", "--batch_size", "64"])
        items = load_items(config)
        frame = items.frame.with_columns(split=items.frame["split"].replace_strict({}, default="test"))
        return ItemData(replace(items, frame=frame), config, class_names(items))

    from_files, in_memory = ours(0).loader("test"), ours(1024).loader("test")
    contenders = {"ImageFolder": peer, "triune": from_files, "triune, in memory": in_memory}
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(3 if quick else 7):
        for name, loader in contenders.items():
            start, seen = time.perf_counter(), 0
            for batch in loader:
                seen += len(batch if isinstance(batch, Batch) else batch[1])
            if turn:
                rates[name].append(seen / (time.perf_counter() - start))
    base = median(rates["ImageFolder"])
    say(f"\n## The loader\n\nJPEG files of 128 × 128, out at {size} × {size}, {workers} workers, normalised batches.\n")
    say("| loader | images/s | times of ImageFolder |")
    say("| --- | --- | --- |")
    for name, found in rates.items():
        say(f"| {name} | {median(found):,.0f} | {median(found) / base:.2f}× |")


# --- memory -----------------------------------------------------------------------------------------------------------


def long_training(folder: Path, minutes: float, say: Callable[[str], None]) -> None:
    """Memory of a training on 20,000 images with two workers, all its processes together, minute by minute."""
    (folder / "long").mkdir()
    table = made_images(folder / "long", 200, 64, each=100)
    command = [
        *(sys.executable, "-m", "triune", "train", "--data", str(table), "--model.pretrained", "false", *SMALL),
        *("--images.workers", "2", "--epochs", "10000", "--output", str(folder / "run")),
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    samples: list[float] = []
    stop = threading.Event()
    begun = time.monotonic()
    while time.monotonic() - begun < minutes * 60 and process.poll() is None:
        stop.wait(min(60.0, minutes * 6))
        samples.append(tree_memory(process.pid))
    process.terminate()
    process.wait()
    say(f"\n## Memory over {minutes:g} minutes, 20,000 images, 2 workers\n")
    say("Of all processes together (PSS), MiB: " + ", ".join(f"{each:.0f}" for each in samples) + ".")


def tree_memory(pid: int) -> float:
    """Proportional memory of a process and those that it started, MiB."""
    total = 0.0
    for each in [pid, *children(pid)]:
        rollup = Path(f"/proc/{each}/smaps_rollup")
        try:
            line = next(line for line in rollup.read_text().splitlines() if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
        total += int(line.split()[1]) / 1024
    return total


def children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir() if os.path.exists(f"/proc/{pid}/task") else ():
        for child in (task / "children").read_text().split():
            found += [int(child), *children(int(child))]
    return found


if __name__ == "__main__":
    main()
