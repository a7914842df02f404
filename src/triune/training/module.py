"""The training loop's body as a Lightning module: one step, one validation, the optimiser."""

import math
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from torch import Tensor

from triune.data.batches import ClassBalancedBatchSampler
from triune.data.images import Batch
from triune.errors import InputError
from triune.functional.pairs import verify_embeddings
from triune.model.network import MultiTaskModel
from triune.model.objective import LossTerms, MultiTaskObjective, Targets
from triune.training.config import Metric, OptimizerConfig


class TrainingModule(pl.LightningModule):
    """A network, its objective and its optimiser.

    Every step logs the three loss terms and their total, and of the triplets: the share that is active, the mean
    distances d(a,p) and d(a,n), and the collapse measure. A validation logs TPR@FPR and AUC over all pairs of
    validation images, which the best checkpoint is chosen by.

    Args:
        model: the network.
        objective: the loss.
        optimizer: settings of the optimiser and its schedule.
        metric: distance between embeddings.
        target_fpr: the false-positive rate that validation reports the TPR at.
        total_steps: how many optimiser steps the run has; the schedule is laid over them.
        on_nonfinite: 'stop' or 'skip' a step whose loss is NaN or infinite.
    """

    def __init__(
        self,
        model: MultiTaskModel,
        objective: MultiTaskObjective,
        optimizer: OptimizerConfig,
        metric: Metric,
        target_fpr: float,
        total_steps: int,
        on_nonfinite: Literal["stop", "skip"] = "stop",
    ) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.settings = optimizer
        self.metric = metric
        self.target_fpr = target_fpr
        self.total_steps = total_steps
        self.on_nonfinite = on_nonfinite
        self.best_tpr = 0.0
        self._validation: list[tuple[Tensor, Tensor]] = []

    def on_train_epoch_start(self) -> None:
        """Tell the class-balanced sampler the epoch, which its order depends on; a resumed run starts later."""
        loader = self.trainer.train_dataloader
        sampler = getattr(loader, "batch_sampler", None)
        if isinstance(sampler, ClassBalancedBatchSampler):
            sampler.set_epoch(self.current_epoch)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor | None:
        """One step's loss; ``None`` skips the optimiser step."""
        output = self.model(batch.images)
        terms = self.objective(output, Targets(batch.classes, batch.masks, batch.identities))
        if not torch.isfinite(terms.total):
            self._report_nonfinite(terms, batch)
            return None
        self.log_dict(step_figures(terms, output.embedding), batch_size=len(batch.images))
        total: Tensor = terms.total
        return total

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Keep the embeddings of the validation items that have an identity; measure the other heads' losses."""
        output = self.model(batch.images)
        terms = self.objective(output, Targets(batch.classes, batch.masks, None))
        figures = {"val_classification": terms.classification, "val_segmentation": terms.segmentation}
        self.log_dict(figures, batch_size=len(batch.images))
        if output.embedding is not None:
            known = batch.identities >= 0
            self._validation.append((output.embedding[known].float().cpu(), batch.identities[known].cpu()))

    def on_validation_epoch_end(self) -> None:
        """Log TPR@FPR and AUC over every pair of validation images."""
        kept, self._validation = self._validation, []
        embeddings = torch.cat([e for e, _ in kept]) if kept else torch.empty(0, 1)
        identities = torch.cat([i for _, i in kept]) if kept else torch.empty(0, dtype=torch.long)
        tpr, auc = validation_figures(embeddings, identities, self.metric, self.target_fpr)
        chosen = as_good(tpr, self.best_tpr, len(identities))
        self.best_tpr = max(self.best_tpr, tpr)
        self.log_dict({"val_tpr": tpr, "val_auc": auc, "chosen_step": float(self.global_step if chosen else -1)})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the best TPR so far, which later validations are compared with."""
        checkpoint["best_tpr"] = self.best_tpr

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on comparing with the best TPR so far."""
        self.best_tpr = checkpoint["best_tpr"]

    def configure_optimizers(self) -> Any:
        """AdamW; no weight decay on biases and normalisation layers; a schedule stepped every batch."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": self.settings.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=self.settings.lr)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rate(self, step: int) -> float:
        """The learning rate at a step, as a share of its highest value."""
        warmup = max(1, round(self.settings.warmup * self.total_steps))
        if step < warmup:
            return (step + 1) / warmup
        if self.settings.schedule == "constant":
            return 1.0
        progress = min(1.0, (step - warmup) / max(1, self.total_steps - warmup))
        return 0.5 * (1.0 + float(torch.cos(torch.tensor(progress * torch.pi))))

    def _report_nonfinite(self, terms: LossTerms, batch: Batch) -> None:
        rows = ", ".join(str(row) for row in batch.rows.tolist()[:8])
        values = ", ".join(f"{name} {float(getattr(terms, name).detach()):g}" for name in LossTerms._fields[1:4])
        problem = f"step {self.global_step}: the loss is not finite ({values}); the batch began with items {rows}"
        if self.on_nonfinite == "stop":
            raise InputError(
                f"{problem}. Lower --optimizer.lr, or skip such steps with --trainer.on_nonfinite skip; "
                "the last checkpoint is kept"
            )
        self.print(f"{problem}: step skipped")


def step_figures(terms: LossTerms, embedding: Tensor | None) -> dict[str, Tensor]:
    """What one training step logs, as detached scalars that stay on their device."""
    figures = {
        "train_total": terms.total,
        "train_classification": terms.classification,
        "train_segmentation": terms.segmentation,
        "train_triplet": terms.triplet,
    }
    if embedding is not None:
        figures["train_collapse"] = collapse(embedding.detach().float())
    if terms.outcome is not None:
        outcome = terms.outcome
        figures["train_active_share"] = outcome.active / outcome.triplets.clamp(min=1)
        figures["train_positive_distance"] = outcome.positive_distance
        figures["train_negative_distance"] = outcome.negative_distance
    return {name: value.detach().float() for name, value in figures.items()}


def as_good(tpr: float, best: float, images: int) -> bool:
    """Whether a TPR is no more than one standard error below the best so far.

    Validation TPR is soon near 1 and then differs by luck; among validations that are equally good the latest one,
    with the smallest learning rate, is kept (the one-standard-error rule of Breiman et al. 1984). The error is that of
    a share of as many images, not pairs: pairs of the same images are not independent.
    """
    if images == 0 or tpr != tpr:
        return False
    share = min(max(best, 0.5 / images), 1 - 0.5 / images)
    return bool(tpr >= best - math.sqrt(share * (1 - share) / images))


def collapse(embeddings: Tensor) -> Tensor:
    """How far unit embeddings ``(B, D)`` huddle: the length of their mean, 0 (spread evenly) to 1 (all one point).

    It is the mean resultant length of directional statistics (Mardia and Jupp, Directional Statistics, 2000).
    """
    length: Tensor = torch.linalg.vector_norm(embeddings.mean(dim=0))
    return length


def validation_figures(embeddings: Tensor, identities: Tensor, metric: Metric, fpr: float) -> tuple[float, float]:
    """TPR@FPR and AUC over all pairs; NaN where the items make no matching or no non-matching pair."""
    counts = torch.unique(identities, return_counts=True)[1]
    if len(counts) < 2 or int(counts.max()) < 2:
        return float("nan"), float("nan")
    verification = verify_embeddings(embeddings, identities, metric=metric)
    return verification.tpr_at_fpr(fpr), verification.auc
