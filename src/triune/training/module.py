"""The training loop's body as a Lightning module: one step, one validation, the optimiser."""

import math
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from triune.data.batches import ClassBalancedBatchSampler, ShareOfBatches, ShuffledBatchSampler
from triune.data.dataset import Batch
from triune.errors import InputError
from triune.losses.cached_gradients import buffers_kept
from triune.losses.joined import joined_sum
from triune.losses.margin_choice import diagnose, suggest_margin
from triune.losses.memory import CrossBatchMemory
from triune.losses.outcome import TripletOutcome
from triune.losses.triplet import TripletLoss
from triune.model.aggregation import Aggregation
from triune.model.conflicts import measure_conflicts
from triune.model.network import MultiTaskModel, Prediction
from triune.model.objective import LossTerms, MultiTaskObjective, Targets
from triune.parallel.group import all_gather, sharing
from triune.run.settings import Metric, OptimizerConfig
from triune.training.chunks import ChunkedPrediction
from triune.training.optimizer import LATE, Freeze, late_rate, parameter_groups, rate
from triune.training.processes import equal_statistics, tell_other_number
from triune.verification.all_pairs import verify_embeddings

MOSTLY = 0.95
"""Share of an epoch's batches without any triplet from which training is said to have stopped teaching."""

TINY_MARGIN = 0.002
"""Of unit vectors: a margin that ``auto`` does not choose, a hundredth of the usual 0.2."""


@dataclass(frozen=True)
class LoopSettings:
    """What the training loop needs to know of a run beyond the network and its loss.

    Args:
        optimizer: settings of the optimiser and its schedule.
        metric: distance between embeddings.
        target_fpr: the false-positive rate that validation reports the TPR at.
        total_steps: how many optimiser steps the run has; the schedule is laid over them.
        on_nonfinite: 'stop' or 'skip' a step whose loss is NaN or infinite.
        choose_margin: at the first validation, set the triplet margin by :func:`suggest_margin` on its embeddings.
        seed: of all that is drawn while training.
        freeze: for how many steps the backbone stays as it is.
        conflicts_every: steps between measurements of the tasks' gradients; 0 measures none.
    """

    optimizer: OptimizerConfig
    metric: Metric
    target_fpr: float
    total_steps: int
    on_nonfinite: Literal["stop", "skip"] = "stop"
    choose_margin: bool = False
    seed: int = 0
    freeze: Freeze = 0
    conflicts_every: int = 0


class Validated(NamedTuple):
    """What the network made of a batch of validation items.

    Args:
        rows: ``(B,)`` places in the data set.
        losses: ``(2,)`` the mean classification and segmentation loss.
        embeddings: ``(B, D)``; D is 0 where the network has none.
        identities: ``(B,)`` codes, -1 where missing.
    """

    rows: Tensor
    losses: Tensor
    embeddings: Tensor
    identities: Tensor


class TrainingModule(pl.LightningModule):
    """A network, its objective and its optimiser.

    Every step logs the three loss terms and their total, and of the triplets: the share that is active, the mean
    distances d(a,p) and d(a,n), and the collapse measure. A validation logs TPR@FPR and AUC over all pairs of
    validation images, which the best checkpoint is chosen by.

    Args:
        model: the network.
        objective: the loss.
        settings: everything else.
    """

    def __init__(self, model: MultiTaskModel, objective: MultiTaskObjective, settings: LoopSettings) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.settings = settings
        self.chosen_margin: float | None = None
        self.best_tpr = 0.0
        self.advice: str | None = None
        self.answers: Callable[[Batch, str], Prediction] = self._answers
        self._chunks: ChunkedPrediction | None = None
        self.measured: dict[str, float] = {}
        self._outcomes: list[TripletOutcome] = []
        self._validation: list[Validated] = []

    def on_train_epoch_start(self) -> None:
        """Tell the sampler the epoch, which its order depends on, and begin the epoch's random numbers.

        All that is drawn while training (dropout, random triplets) depends on the seed, the process and the epoch
        alone: a resumed run goes on as the unbroken one would have.
        """
        sampler = getattr(self.trainer.train_dataloader, "batch_sampler", None)
        if isinstance(sampler, ClassBalancedBatchSampler | ShuffledBatchSampler | ShareOfBatches):
            sampler.set_epoch(self.current_epoch)
        place = (self.settings.seed, self.trainer.global_rank, self.current_epoch)
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0] >> np.uint64(1)))

    def training_step(self, batch: Batch, batch_index: int) -> Tensor | None:
        """One step's loss; ``None`` skips the optimiser step."""
        output = self.answers(batch, "train")
        terms = self.objective(output, Targets(batch.classes, batch.masks, batch.identities))
        # Several processes decide alike without a word, since the loss is that of their joined batch: one that skipped
        # a step alone would leave the others waiting for its gradients.
        if not bool(torch.isfinite(terms.total)):
            self._report_nonfinite(terms, batch, output)
            return None
        self.log_dict(step_figures(terms, output.embedding), batch_size=len(batch.images))
        if terms.outcome is not None:
            self._outcomes.append(TripletOutcome(*(part.detach() for part in terms.outcome)))
        with buffers_kept(self.model) if self.model.recomputes else nullcontext():
            self.measured = self._conflicts(terms)
            loss = self.objective.loss(terms, self.model, self._mean)
        if self.measured:
            self.measured |= {f"train_weight_{task}": each for task, each in self.objective.weights_now().items()}
            if self.logger is not None:
                self.logger.log_metrics(self.measured, self.global_step)
        return loss

    def on_fit_start(self) -> None:
        """Refuse several processes where the gradients of one are to be aggregated."""
        balance = self.objective.balance
        if isinstance(balance, Aggregation) and self.trainer.world_size > 1:
            raise InputError(
                f"--loss.weighting {balance.method} looks at the gradients of one process, and there are "
                f"{self.trainer.world_size}: give --trainer.devices 1, or take another weighting such as dwa"
            )

    def _conflicts(self, terms: LossTerms) -> dict[str, float]:
        """How much each task moves the backbone, and where tasks fight; nothing at most steps."""
        every = self.settings.conflicts_every
        if not every or self.global_step % every:
            return {}
        shared = [each for each in self.model.shared_parameters() if each.requires_grad]
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        scale = 1.0 if scaler is None else float(scaler.get_scale())
        found = measure_conflicts(self.objective.weighted(terms), shared, self._mean, scale)
        return {} if found is None else {f"train_{name}": figure for name, figure in found.figures().items()}

    def _mean(self, values: Tensor) -> Tensor:
        """The mean over all processes."""
        if self.trainer.world_size == 1:
            return values
        mean: Tensor = self.trainer.strategy.reduce(values, reduce_op="mean")
        return mean

    def on_after_backward(self) -> None:
        """Let the processes agree on the statistics of batch normalisation, before the weights' average takes them."""
        equal_statistics(self.model)

    def backward(self, loss: Tensor, *arguments: Any, **options: Any) -> None:
        """The gradient of a step's loss; of a batch in chunks it goes on through the network, a chunk at a time.

        Args:
            loss: of the step.
            arguments: of torch's ``backward``.
            options: likewise.
        """
        # What is computed again on the way back is not counted twice in the statistics of batch normalisation.
        with buffers_kept(self.model) if self.model.recomputes else nullcontext():
            super().backward(loss, *arguments, **options)
        chunks, self._chunks = self._chunks, None
        if chunks is not None:
            several = self.trainer.world_size > 1
            learning = [each for each in self.model.parameters() if each.requires_grad] if several else []
            with self.trainer.precision_plugin.forward_context():
                chunks.backward(learning)

    def _answers(self, batch: Batch, split: str) -> Prediction:
        """The network's answers to a batch; while training in chunks, if so asked."""
        chunk = self.settings.optimizer.chunk
        if not self.training or not 0 < chunk < len(batch):
            answers: Prediction = self.model(batch.images.to(self.dtype))
            return answers
        self._chunks = ChunkedPrediction(self.model, batch.images.to(self.dtype), chunk)
        return self._chunks.prediction

    def on_train_epoch_end(self) -> None:
        """Weigh the next epoch's tasks; say once what can be done where the triplets have stopped teaching."""
        self.objective.end_epoch()
        outcomes, self._outcomes = self._outcomes, []
        criterion = triplet_loss_of(self.objective)
        if not outcomes or criterion is None:
            return
        advice = diagnose(pooled(outcomes), criterion.margin)
        empty = sum(int(outcome.triplets) == 0 for outcome in outcomes) / len(outcomes)
        if advice is None and empty > MOSTLY:
            advice = (
                f"{empty:.0%} of the batches held no {criterion.mining} triplet: use mining 'all' or 'batch_hard', a "
                "larger margin, or more identities a batch"
            )
        if advice is not None and self.advice is None:
            print(f"warning: epoch {self.current_epoch + 1}: {advice}", file=sys.stderr, flush=True)
        self.advice = advice

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Keep the embeddings of the validation items that have an identity; measure the other heads' losses."""
        output = self.answers(batch, "val")
        terms = self.objective(output, Targets(batch.classes, batch.masks, None))
        embedding = torch.zeros(len(batch), 0) if output.embedding is None else output.embedding.float()
        losses = torch.stack([terms.classification, terms.segmentation])
        parts = (batch.rows, losses, embedding, batch.identities)
        self._validation.append(Validated(*(part.detach().cpu() for part in parts)))

    def on_validation_epoch_end(self) -> None:
        """Log TPR@FPR and AUC over every pair of validation images."""
        kept, self._validation = in_order(all_gather(self._validation, sharing())), []
        if not kept:
            return
        sizes = torch.tensor([len(each.rows) for each in kept], dtype=torch.float64)
        means = (torch.stack([each.losses.double() for each in kept]) * sizes[:, None]).sum(0) / sizes.sum()
        embeddings = torch.cat([each.embeddings for each in kept])
        identities = torch.cat([each.identities for each in kept])
        known = identities >= 0
        embeddings, identities = embeddings[known], identities[known]
        if self.settings.choose_margin and self.chosen_margin is None and not self.trainer.sanity_checking:
            self.fit_margin(embeddings, identities)
        tpr, auc = validation_figures(embeddings, identities, self.settings.metric, self.settings.target_fpr)
        chosen = as_good(tpr, self.best_tpr, len(set(identities.tolist())))
        self.best_tpr = max(self.best_tpr, tpr)
        losses = {"val_classification": float(means[0]), "val_segmentation": float(means[1])}
        place = float(self.global_step if chosen else -1)
        self.log_dict({**losses, "val_tpr": tpr, "val_auc": auc, "chosen_step": place})

    def fit_margin(self, embeddings: Tensor, identities: Tensor) -> None:
        """Set the margin by held-out embeddings, unless they give none or have collapsed."""
        try:
            margin = suggest_margin(embeddings, identities, metric=self.settings.metric).margin
            if margin < TINY_MARGIN:  # a margin that fits a collapse would keep it, and hide it from the advice
                raise ValueError(f"the embedding has all but collapsed, distances differ by {margin:.2g}")
            self.set_margin(margin)
        except ValueError as error:
            print(f"warning: the margin stays as it is: {error}", file=sys.stderr, flush=True)

    def set_margin(self, margin: float) -> None:
        """Train on with this triplet margin."""
        self.chosen_margin = margin
        criterion = triplet_loss_of(self.objective)
        if criterion is not None:
            criterion.margin = margin
        print(f"margin {margin:.3f}, chosen on the validation images", file=sys.stderr, flush=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the best TPR so far, which later validations are compared with, and the margin that was chosen."""
        checkpoint["best_tpr"] = self.best_tpr
        checkpoint["chosen_margin"] = self.chosen_margin
        checkpoint["processes"] = self.trainer.world_size
        if self.objective.balance is not None:
            checkpoint["weighting"] = self.objective.balance.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on comparing with the best TPR so far, and with the margin that was chosen."""
        self.best_tpr = checkpoint["best_tpr"]
        tell_other_number(int(checkpoint.get("processes", 1)), self.trainer.world_size)
        if checkpoint.get("chosen_margin") is not None:
            self.set_margin(checkpoint["chosen_margin"])
        if self.objective.balance is not None:
            self.objective.balance.load_state_dict(checkpoint["weighting"])

    def configure_optimizers(self) -> Any:
        """AdamW; no weight decay on biases, normalisation layers and proxies; a schedule stepped every batch."""
        settings, total, freeze = self.settings.optimizer, self.settings.total_steps, self.settings.freeze
        groups = parameter_groups(self, self.model, self.objective.triplet.parameters(), settings, freeze)
        rates = [
            late_rate(freeze, total, settings)
            if LATE in group and freeze != "all"
            else partial(rate, total=total, settings=settings)
            for group in groups
        ]
        optimizer = torch.optim.AdamW(groups, lr=settings.lr)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rates)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _report_nonfinite(self, terms: LossTerms, batch: Batch, output: Prediction) -> None:
        # Of several processes the one whose items they were says which.
        finite = all(bool(torch.isfinite(part).all()) for part in output if part is not None)
        told = all_gather([(finite, batch.rows.tolist()[:8])], sharing())
        rows = ", ".join(map(str, min(told, key=lambda each: each[0])[1]))
        values = ", ".join(f"{name} {float(getattr(terms, name).detach()):g}" for name in LossTerms._fields[1:4])
        problem = f"step {self.global_step}: the loss is not finite ({values}); the batch began with items {rows}"
        if self.settings.on_nonfinite == "stop":
            raise InputError(
                f"{problem}. Lower --optimizer.lr, or skip such steps with --trainer.on_nonfinite skip; "
                "the last checkpoint is kept"
            )
        self.print(f"{problem}: step skipped")


def in_order(parts: Sequence[Validated]) -> list[Validated]:
    """Validated batches in the order of their items, each once: a process without a share repeats the first."""
    by_first = {int(each.rows[0]): each for each in parts if len(each.rows)}
    return [by_first[first] for first in sorted(by_first)]


def step_figures(terms: LossTerms, embedding: Tensor | None) -> dict[str, Tensor]:
    """What one training step logs, as detached scalars that stay on their device."""
    figures = {
        "train_total": terms.total,
        "train_classification": terms.classification,
        "train_segmentation": terms.segmentation,
        "train_triplet": terms.triplet,
    }
    if embedding is not None:
        figures["train_collapse"] = joined_collapse(embedding.detach().float())
    if terms.outcome is not None:
        outcome = terms.outcome
        figures["train_active_share"] = outcome.active / outcome.triplets.clamp(min=1)
        figures["train_positive_distance"] = outcome.positive_distance
        figures["train_negative_distance"] = outcome.negative_distance
    return {name: value.detach().float() for name, value in figures.items()}


def triplet_loss_of(objective: MultiTaskObjective) -> TripletLoss | None:
    """The objective's triplet loss, in a memory or not; ``None`` where its metric term is another."""
    criterion = objective.triplet
    if isinstance(criterion, CrossBatchMemory):
        criterion = criterion.criterion
    return criterion if isinstance(criterion, TripletLoss) else None


def pooled(outcomes: list[TripletOutcome]) -> TripletOutcome:
    """One outcome of several batches: counts added up, the rest averaged over the batches that had triplets."""
    loss, triplets, active, positive, negative = (torch.stack(part) for part in zip(*outcomes, strict=True))
    return TripletOutcome(loss.mean(), triplets.sum(), active.sum(), positive.nanmean(), negative.nanmean())


def as_good(tpr: float, best: float, identities: int) -> bool:
    """Whether a TPR is no more than one standard error below the best so far.

    Validation TPR is soon near 1 and then differs by luck; among validations that are equally good the latest one,
    with the smallest learning rate, is kept (the one-standard-error rule of Breiman et al. 1984). The error is that of
    a share of as many identities, not images or pairs: those of one identity are not independent. Two identities more
    on either side keep it from vanishing near 1 (Agresti and Coull 1998), where one lucky epoch would otherwise be
    kept for good.

    Args:
        tpr: of this validation; NaN is never as good.
        best: the highest TPR of the validations before, 0 where there were none.
        identities: how many the validation images have.
    """
    if identities == 0 or tpr != tpr:
        return False
    share = (best * identities + 2) / (identities + 4)
    return bool(tpr >= best - math.sqrt(share * (1 - share) / (identities + 4)))


def collapse(embeddings: Tensor) -> Tensor:
    """The length of the mean of unit embeddings ``(B, D)``: 0 where they are spread evenly, 1 where all are one point.

    It is the mean resultant length of directional statistics (Mardia and Jupp, Directional Statistics, 2000).
    """
    length: Tensor = torch.linalg.vector_norm(embeddings.mean(dim=0))
    return length


def joined_collapse(embeddings: Tensor) -> Tensor:
    """:func:`collapse` of the joined batch of all processes; ``embeddings`` are this one's, ``(B, D)``."""
    if sharing() is None:
        return collapse(embeddings)
    sums = joined_sum(torch.cat([embeddings.sum(dim=0), embeddings.new_tensor([len(embeddings)])]))
    return collapse(sums[None, :-1] / sums[-1])


def validation_figures(embeddings: Tensor, identities: Tensor, metric: Metric, fpr: float) -> tuple[float, float]:
    """TPR@FPR and AUC over all pairs; NaN where the items make no matching or no non-matching pair.

    Args:
        embeddings: ``(N, D)``; of a network without embedding D is 0, and there are no figures either.
        identities: ``(N,)`` int64 codes.
        metric: the distance.
        fpr: the false-positive budget.
    """
    counts = torch.unique(identities, return_counts=True)[1]
    if embeddings.shape[1] == 0 or len(counts) < 2 or int(counts.max()) < 2:
        return float("nan"), float("nan")
    verification = verify_embeddings(embeddings, identities, metric=metric)
    return verification.tpr_at_fpr(fpr), verification.auc
