"""What is written down while training goes on: history.csv, and one line an epoch."""

import sys
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from triune.run.history import write_history


class History(pl.Callback):
    """Every step's figures, and every validation's, as rows of ``history.csv``.

    Figures stay on their device until the epoch ends, so that logging never makes the processor wait for a GPU.
    The rows travel in the checkpoint: a resumed run goes on where it stopped.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []
        self._pending: list[dict[str, float | Tensor]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        """Remember the step's figures."""
        figures = {name: value for name, value in trainer.callback_metrics.items() if name.startswith("train_")}
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        measured = getattr(module, "measured", {})  # at some steps only, which Lightning's own log does not tell
        row = {"epoch": trainer.current_epoch, "step": trainer.global_step, "lr": rate}
        self._pending.append({**row, **figures, **measured})

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Add the validation's figures to the last step's row and write the file."""
        if trainer.sanity_checking:
            return
        self._settle()
        if self.rows:
            figures = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val_")}
            self.rows[-1].update(figures)
        self._write(trainer)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Write what is not yet written."""
        self._settle()
        self._write(trainer)

    def state_dict(self) -> dict[str, Any]:
        """All rows so far."""
        self._settle()
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the rows of a checkpoint."""
        self.rows = list(state["rows"])

    def _settle(self) -> None:
        self.rows += [{name: float(value) for name, value in row.items()} for row in self._pending]
        self._pending = []

    def _write(self, trainer: pl.Trainer) -> None:
        if not trainer.is_global_zero:
            return
        write_history(self.path, self.rows)


class Clock(pl.Callback):
    """Seconds that a run was trained for: those up to the checkpoint that it goes on from, and those since."""

    def __init__(self) -> None:
        self.before = 0.0
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """So far."""
        return self.before + time.monotonic() - self._started

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Start."""
        self._started = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """What a run that goes on from here begins with."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with what a checkpoint says."""
        self.before = float(state["seconds"])


class EpochLines(pl.Callback):
    """One plain line an epoch on standard error: what the losses and the validation came to."""

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Start the epoch's clock."""
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Print the line."""
        if not trainer.is_global_zero:
            return
        figures = trainer.callback_metrics
        weights = getattr(getattr(module, "objective", None), "weights", {})
        shown = [f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"]
        names = {
            "train_total": "loss",
            "train_classification": "class",
            "train_segmentation": "mask",
            "train_triplet": "triplet",
            "train_active_share": "active",
            "val_tpr": "val TPR",
            "val_auc": "val AUC",
        }
        shown += [
            f"{label} {float(figures[name]):.3f}"
            for name, label in names.items()
            if name in figures and torch.isfinite(figures[name]) and weights.get(name.removeprefix("train_"), 1)
        ]
        shown.append(f"{time.monotonic() - self._started:.1f} s")
        print("  ".join(shown), file=sys.stderr, flush=True)
