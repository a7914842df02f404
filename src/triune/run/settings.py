"""Every setting of every command, as trees of frozen dataclasses whose types hold the ranges; YAML and flags fill them.

In the text of a setting the first sentence is short: it is what the first screen of ``--help`` shows.
"""

from dataclasses import asdict, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from triune.data.augment import NO_AUGMENT, AugmentConfig
from triune.ranges import (
    AtLeastTwo,
    Count,
    NonNegative,
    Positive,
    PositiveInt,
    PositiveShare,
    Rate,
    Seed,
    Share,
    ShareBelowOne,
    Side,
)

MOST_IDS = 255
"""Of mask ids: 0 to 254, since 255 means to ignore a pixel."""

DEFAULT_EPOCHS = 15

DEFAULT_BATCH = 64
"""Images a step, where there are as many."""

DEFAULT_SAMPLES = 4
"""Images of an identity in a batch, where identities have as many."""

LEARNT_POOLING = ("gem", "attention")
"""Ways to pool that have weights of their own."""

SUMMED = ("fixed", "uncertainty", "dwa")
"""Weightings that add up the terms and look at no gradient."""

Metric = Literal["euclidean", "squared_euclidean", "cosine"]


Mining = Literal["all", "hard", "batch_hard", "semihard", "random"]


@dataclass(frozen=True)
class ImageConfig:
    """How images reach the network.

    Args:
        size: side in pixels of the square that the network sees, or its height and width, as in 256 128.
        fit: how an image of another shape comes into it. 'squash' resizes each side; 'pad' keeps the shape and fills
            the rest with the mean colour; 'crop' keeps the shape and takes the middle.
        channels: 3 for RGB, 1 for grey.
        mean: that images are normalised by, of colours from 0 to 1; one number, or one a channel. The backbone's own
            where not given.
        std: the standard deviation, likewise.
        augment: random changes made to image and mask together while training.
        cache_mib: memory for decoded images, in MiB; what does not fit is decoded again each time.
        collages: invented identities added to every training batch, each with samples_per_class images whose quarters
            come from four real identities; for data with few identities.
        mask_values: pixel values of mask files that stand for the ids 0, 1, 2, …, such as [0,255]. Where not given,
            pixels are ids, and two values are background and foreground.
        workers: loader processes; 0 loads in the training process, the fastest way while the cache holds the set.
    """

    size: Side | tuple[Side, Side] = 64
    fit: Literal["squash", "pad", "crop"] = "squash"
    channels: Literal[1, 3] = 3
    mean: Share | tuple[Share, Share, Share] | None = None
    std: PositiveShare | tuple[PositiveShare, PositiveShare, PositiveShare] | None = None
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    cache_mib: Count = 1024
    collages: Count = 0
    mask_values: tuple[Count, ...] | None = None
    workers: Count = 0

    @model_validator(mode="after")
    def _values_tell_ids_apart(self) -> "ImageConfig":
        values = self.mask_values
        if values is not None and not 2 <= len(set(values)) == len(values) <= MOST_IDS:
            raise ValueError(f"mask_values is {list(values)}: 2 to {MOST_IDS} different pixel values are needed")
        return self

    @model_validator(mode="after")
    def _numbers_are_of_channels(self) -> "ImageConfig":
        for name, given in (("mean", self.mean), ("std", self.std)):
            if isinstance(given, tuple) and self.channels == 1:
                raise ValueError(f"images.{name} has {len(given)} numbers, and grey images one channel: give one")
        return self


@dataclass(frozen=True)
class ModelConfig:
    """The network.

    Args:
        backbone: any timm model with feature maps: convolutional, hierarchical or plain transformers.
        pretrained: start from timm's published weights.
        weights: start from this local file instead, or from a run folder. Checkpoints of whole classifiers, of timm,
            torchvision, DINO and other trainings are read; what matched is printed.
        decoder: any decoder of segmentation-models-pytorch, lower case. Plain transformers have DPT whatever it says,
            and pyramids that no decoder takes (PiT, LeViT) the sum of their maps.
        decoder_channels: width of the decoder's stages, deepest first; as many as fit the backbone's depth are used.
        embedding_dim: length of the embedding; 0 for no embedding head.
        embedding_stage: the backbone stage the embedding is read from; -1 is the deepest. 'auto' is the one before it
            where the deepest map has fewer than 4 x 4 cells, as of images of 64 pixels.
        pooling: how the feature map becomes a vector: its average, its generalised mean, or a 4 x 4 grid of averages
            side by side, which keeps what is where: for aligned images such as faces and characters. 'attention' lets a
            learnt query choose where to look. 'token' is the class token of a plain transformer, 'token+avg' that and
            the average.
        mask_pooling: pool the embedding over the predicted foreground only.
        mask_channels: 'auto' counts the ids in the masks: up to two make one channel, more make one each; 0: no head.
        dropout: before the class head.
        drop_path: rate at which the backbone's last block is left out while training, earlier ones less often
            (stochastic depth).
        freeze: steps for which the backbone stays as it is, while the heads learn; 'all': to the end (linear probe).
        cache_features: compute the features of a backbone that is frozen to the end once, and train the heads on them.
            Images are not augmented then.
        adapter_rank: train low-rank adapters (LoRA) of this rank in place of a transformer's weights; 0 trains these.
            They are merged into the weights that the run keeps. Needs peft.
        grad_checkpointing: keep fewer activations and compute them again in the backward pass.
        compile: let torch.compile make the backbone faster.
    """

    backbone: str = "resnet18"
    pretrained: bool = True
    weights: Path | None = None
    decoder: str = "unet"
    decoder_channels: tuple[PositiveInt, ...] = (128, 64, 32, 16, 16)
    embedding_dim: Count = 128
    embedding_stage: int | Literal["auto"] = "auto"
    pooling: Literal["avg", "gem", "grid", "attention", "token", "token+avg"] = "avg"
    mask_pooling: bool = False
    mask_channels: Annotated[int, Field(ge=0, le=255)] | Literal["auto"] = "auto"
    dropout: ShareBelowOne = 0.0
    drop_path: ShareBelowOne = 0.0
    freeze: Count | Literal["all"] = 0
    cache_features: bool = False
    adapter_rank: Count = 0
    grad_checkpointing: bool = False
    compile: bool = False


@dataclass(frozen=True)
class LossConfig:
    """What the three terms cost, beyond alpha, beta, gamma and the margin.

    Args:
        reduction: of the triplet losses: over those above zero, over all, or their sum.
        dice: weight of a soft Dice term added to the segmentation loss.
        label_smoothing: of the classification loss.
        weighting: 'fixed' uses alpha, beta, gamma as they are; 'uncertainty' learns a factor for each. 'dwa' weighs by
            how fast each term falls, 'gradnorm' by how much each moves the backbone; 'upgrad', 'pcgrad', 'cagrad',
            'mgda' and 'nash-mtl' make one gradient of all for the backbone.
        conflicts_every: steps between measurements of each task's gradient on the backbone; 0 measures none.
        memory: how many embeddings of earlier batches triplets or pairs are also drawn from; 0 keeps to the batch.
        memory_start: the first step that uses the memory.
    """

    reduction: Literal["mean_active", "mean", "sum"] = "mean_active"
    dice: NonNegative = 0.0
    label_smoothing: Share = 0.0
    weighting: Literal["fixed", "uncertainty", "dwa", "gradnorm", "upgrad", "pcgrad", "cagrad", "mgda", "nash-mtl"] = (
        "fixed"
    )
    conflicts_every: Count = 100
    memory: Count = 0
    memory_start: Count = 0


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with a warm-up and a cosine descent.

    Args:
        lr: the highest learning rate.
        weight_decay: decoupled weight decay.
        schedule: 'cosine' warms up and descends to zero over the run; 'constant' stays after the warm-up.
        warmup: share of all steps spent warming up.
        clip: largest gradient norm; 0 does not clip.
        average: decay of the running average of the weights that is evaluated and kept; 0 keeps the last weights. It
            begins short and grows to that decay, so that the first weights are soon forgotten.
        proxy_lr: the highest learning rate of what a metric loss itself learns, such as proxies; they are not decayed.
        layer_decay: factor of the learning rate from each layer of the backbone to the one before; 1 for one rate.
        chunk: images that go through the network at a time, for batches that do not fit in memory; 0 takes all at once.
            The loss and its gradient are those of the whole batch.
    """

    lr: Positive = 1e-3
    proxy_lr: Positive = 1e-2
    weight_decay: NonNegative = 0.05
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: Share = 0.1
    clip: NonNegative = 1.0
    average: ShareBelowOne = 0.98
    layer_decay: PositiveShare = 1.0
    chunk: Count = 0


@dataclass(frozen=True)
class TrainerConfig:
    """The training loop.

    Args:
        precision: of the numbers: '32-true', 'bf16-mixed', '16-mixed', '64-true'.
        accelerator: what to train on.
        devices: how many, a process each. 'auto' takes all GPUs of this machine, or the processor. A batch is shared
            out among them, so that their number changes the speed and not what is learnt.
        share: what a process gets of a batch: whole 'identities', or 'images' of all identities.
        patience: stop after so many validations without a better TPR@FPR=5%; 0 never stops early.
        validate_every: epochs between validations.
        on_nonfinite: 'stop' or 'skip' a step whose loss is not finite; either way the step and its items are reported.
        deterministic: ask torch for repeatable algorithms.
    """

    precision: Literal["32-true", "bf16-mixed", "16-mixed", "64-true"] = "32-true"
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"] = "auto"
    devices: PositiveInt | Literal["auto"] = "auto"
    share: Literal["identities", "images"] = "identities"
    patience: Count = 0
    validate_every: PositiveInt = 1
    on_nonfinite: Literal["stop", "skip"] = "stop"
    deterministic: bool = False


@dataclass(frozen=True)
class TrainConfig:
    """A training run.

    Args:
        data: a table, a folder of images, or a name such as digits. A table is .csv or .parquet; the names are digits,
            omniglot, oxford-pets, lfw, vggface and the benchmarks cub200, cars196 (both also as NAME-cropped), sop,
            inshop and market1501, whose defaults are those of a published recipe.
        epochs: each shows every training image about once. 'auto' is 15, or more where those
            are fewer than 300 steps.
        steps: optimiser steps, in place of epochs. As many whole epochs are trained as they take.
        batch_size: images a step, of all processes together. 'auto' is 64, or all where there are fewer.
        alpha: weight of the classification loss. 'auto' is 1, or 0 where the classes are the identities themselves and
            none of them is tested: the embedding tells those apart.
        beta: weight of the segmentation loss.
        gamma: weight of the triplet loss.
        margin: of the triplet loss: a number, soft or auto. 'auto' is, after the first epoch, the median of
            |d(a,n) - d(a,p)| over held-out triplets, and 0.2 until then.
        mining: all, hard, batch_hard, semihard or random triplets.
        metric: euclidean, squared_euclidean or cosine distance.
        seed: of everything random.
        output: the run folder. It is runs/NAME-1, -2, … where not given.
        resume: go on with the run in this folder. It starts from the last checkpoint and the settings stored there.
        resume_with_changes: resume though the data changed since. The rows that were known keep their split.
        root: where archives or downloads of a named data set lie.
        split: auto, open-set or closed-set. 'auto' takes the table's split column where there is one, else an open-set
            split.
        target_fpr: the false-positive rate the threshold is set for.
        fpr_confidence: how surely new identities see no higher rate. null promises nothing. A promise gives a stricter
            threshold, and needs a split calibration: for 0.05 at 0.95 of 118 identities or more.
        calibration: share of training identities to fit the threshold on. They are not trained on. Where there are
            none, and no split calibration in the table, the threshold is fitted on the validation identities.
        samples_per_class: images of each identity in a batch (K). There are batch_size / K identities (P) in it. 'auto'
            is 4, or 3 or 2 where half of the identities have no more. 1 gives no pair of one identity, and is for
            losses with proxies.
        metric_loss: triplet, a loss by name, or pml:CLASS. The names are those of pair and proxy losses such as
            multi-similarity or arcface (a name that is not known is answered with all of them); pml:CLASS is any loss
            of pytorch-metric-learning.
        metric_loss_options: that loss's own settings by name.
        images: how images reach the network.
        model: the network.
        loss: what the terms cost.
        optimizer: how the weights move.
        trainer: the training loop.
    """

    data: str = "digits"
    epochs: PositiveInt | Literal["auto"] = "auto"
    steps: PositiveInt | None = None
    batch_size: AtLeastTwo | Literal["auto"] = "auto"
    alpha: NonNegative | Literal["auto"] = "auto"
    beta: NonNegative = 1.0
    gamma: NonNegative = 1.0
    margin: NonNegative | Literal["soft", "auto"] = 0.2
    mining: Mining = "semihard"
    metric: Metric = "cosine"
    seed: Seed = 0
    output: Path | None = None
    resume: Path | None = None
    resume_with_changes: bool = False
    root: Path | None = None
    split: Literal["auto", "open-set", "closed-set"] = "auto"
    target_fpr: Rate = 0.05
    fpr_confidence: Rate | None = None
    calibration: ShareBelowOne = 0.0
    samples_per_class: PositiveInt | Literal["auto"] = "auto"
    metric_loss: str = "triplet"
    metric_loss_options: dict[str, Any] = field(default_factory=dict)
    images: ImageConfig = field(default_factory=ImageConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)

    @model_validator(mode="after")
    def _something_is_learnt(self) -> "TrainConfig":
        if not self.alpha and not self.beta and not self.gamma:
            raise ValueError("alpha, beta and gamma are all 0, so there is nothing to learn: give one of them a weight")
        if self.resume_with_changes and self.resume is None:
            raise ValueError("resume_with_changes is for a run that goes on: name it with --resume")
        return self

    @model_validator(mode="after")
    def _what_fine_tuning_is_told_has_an_effect(self) -> "TrainConfig":
        reason = _without_effect(self)
        if reason is not None:
            raise ValueError(reason)
        return self

    @model_validator(mode="after")
    def _gradients_can_be_weighed(self) -> "TrainConfig":
        reason = _not_weighable(self)
        if reason is not None:
            raise ValueError(reason)
        return self

    @property
    def augment(self) -> AugmentConfig:
        """The random changes that are made: none where features are computed once."""
        return NO_AUGMENT if self.model.cache_features else self.images.augment

    @property
    def whole_epochs(self) -> int:
        """The epochs as a number. Where it is 'auto' a training settles it once the data are known."""
        return DEFAULT_EPOCHS if self.epochs == "auto" else self.epochs

    @property
    def images_a_batch(self) -> int:
        """The batch size as a number. Where it is 'auto' a training settles it once the data are known."""
        return DEFAULT_BATCH if self.batch_size == "auto" else self.batch_size

    @property
    def images_an_identity(self) -> int:
        """K as a number. Where it is 'auto' a training settles it once the data are known."""
        return DEFAULT_SAMPLES if self.samples_per_class == "auto" else self.samples_per_class

    @property
    def class_weight(self) -> float:
        """Alpha as a number. Where it is 'auto' a training settles it once the data are known."""
        return 1.0 if self.alpha == "auto" else float(self.alpha)

    @property
    def learns_masks(self) -> bool:
        """Whether a mask is looked at: the segmentation term has a weight, and the network may have that head."""
        return self.beta > 0 and self.model.mask_channels != 0

    @property
    def learns_embedding(self) -> bool:
        """Whether pairs of one identity are learnt from: the metric term has a weight, and there is an embedding."""
        return self.gamma > 0 and self.judges_pairs

    @property
    def judges_pairs(self) -> bool:
        """Whether there is an embedding, by which pairs of held-out images are judged."""
        return self.model.embedding_dim > 0


def _without_effect(config: TrainConfig) -> str | None:
    """Why a setting of fine-tuning would do nothing beside the others, or cannot do what it says."""
    model, optimizer = config.model, config.optimizer
    if model.freeze == "all":
        moot = {
            "optimizer.layer_decay": optimizer.layer_decay < 1,
            "model.adapter_rank": model.adapter_rank > 0,
            "model.drop_path": model.drop_path > 0,
            "model.grad_checkpointing": model.grad_checkpointing,
        }
        for name, is_set in moot.items():
            if is_set:
                return (
                    f"{name} has no effect on a backbone that is frozen to the end: leave it or model.freeze all away"
                )
    if model.cache_features:
        if model.freeze != "all":
            return "model.cache_features needs a backbone that stays as it is: give model.freeze all"
        if model.pooling in LEARNT_POOLING:
            return (
                f"model.cache_features keeps pooled vectors, and {model.pooling} learns how to pool: take another "
                "model.pooling"
            )
        if config.images.collages:
            return "images.collages makes images anew for every batch, and model.cache_features none: leave one away"
        if config.images.augment not in (AugmentConfig(), NO_AUGMENT):
            return "images.augment has no effect with model.cache_features, which sees each image once: leave one away"
        if optimizer.chunk:
            return "optimizer.chunk has no effect with model.cache_features, which keeps no activations: leave it at 0"
    images = config.images_a_batch + config.images.collages * config.images_an_identity
    if optimizer.chunk >= images:
        return (
            f"optimizer.chunk is {optimizer.chunk}, and a batch has {images} images: give fewer, or 0 for all at once"
        )
    return None


def _not_weighable(config: TrainConfig) -> str | None:
    """Why the gradients that a weighting looks at are not to be had, or not of one batch at once."""
    name = config.loss.weighting
    if name in SUMMED:
        return None
    devices = config.trainer.devices
    reasons = {
        "with trainer.precision 16-mixed are too small: take bf16-mixed or 32-true": (
            config.trainer.precision == "16-mixed"
        ),
        f"with optimizer.chunk {config.optimizer.chunk} are never there at once: give 0": config.optimizer.chunk > 0,
        "with model.freeze all are none: leave one of them away": config.model.freeze == "all",
        f"with trainer.devices {devices} are divided among processes: give 1": (
            name != "gradnorm" and devices != "auto" and devices > 1
        ),
    }
    found = next((reason for reason, is_so in reasons.items() if is_so), None)
    return None if found is None else f"loss.weighting {name} looks at the gradients of the backbone, which {found}"


def as_plain(config: Any) -> dict[str, Any]:
    """The settings as nested dicts of numbers, strings and lists, ready for YAML."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, tuple | list):
            return [plain(item) for item in value]
        return str(value) if isinstance(value, Path) else value

    converted: dict[str, Any] = plain(asdict(config))
    return converted
