"""Every setting of a training run, as one tree of frozen dataclasses; YAML and flags fill it in."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from triune.data.augment import AugmentConfig

Metric = Literal["euclidean", "squared_euclidean", "cosine"]


Mining = Literal["all", "hard", "batch_hard", "semihard", "random"]


@dataclass(frozen=True)
class ImageConfig:
    """How images reach the network.

    Args:
        size: side in pixels of the square that every image is resized to.
        channels: 3 for RGB, 1 for grey.
        augment: random changes made to image and mask together while training.
        cache_mib: memory for decoded images, in MiB; what does not fit is decoded again each time.
        collages: invented identities added to every training batch, each with samples_per_class images whose quarters
            come from four real identities; for data with few identities.
        workers: loader processes; 0 loads in the training process, the fastest way while the cache holds the set.
    """

    size: int = 64
    channels: Literal[1, 3] = 3
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    cache_mib: int = 1024
    collages: int = 0
    workers: int = 0


@dataclass(frozen=True)
class ModelConfig:
    """The network.

    Args:
        backbone: any timm model with feature maps.
        pretrained: start from timm's published weights.
        weights: start from this local file (safetensors or a state dict) instead.
        decoder: any decoder of segmentation-models-pytorch, lower case.
        decoder_channels: width of the decoder's stages, deepest first; as many as fit the backbone's depth are used.
        embedding_dim: length of the embedding; 0 for no embedding head.
        embedding_stage: the backbone stage the embedding is read from; -1 is the deepest.
        pooling: how the feature map becomes a vector: its average, its generalised mean, or a 4 x 4 grid of averages
            side by side, which keeps what is where: for aligned images such as faces and characters.
        mask_pooling: pool the embedding over the predicted foreground only.
        mask_channels: 'auto' counts the ids in the masks: up to two make one channel, more make one each; 0: no head.
        dropout: before the class head.
    """

    backbone: str = "resnet18"
    pretrained: bool = True
    weights: Path | None = None
    decoder: str = "unet"
    decoder_channels: tuple[int, ...] = (128, 64, 32, 16, 16)
    embedding_dim: int = 128
    embedding_stage: int = -1
    pooling: Literal["avg", "gem", "grid"] = "avg"
    mask_pooling: bool = False
    mask_channels: int | Literal["auto"] = "auto"
    dropout: float = 0.0


@dataclass(frozen=True)
class LossConfig:
    """What the three terms cost, beyond alpha, beta, gamma and the margin.

    Args:
        reduction: of the triplet losses: over those above zero, over all, or their sum.
        dice: weight of a soft Dice term added to the segmentation loss.
        label_smoothing: of the classification loss.
        weighting: 'fixed' uses alpha, beta, gamma as they are; 'uncertainty' learns a factor for each.
        memory: how many embeddings of earlier batches triplets are also drawn from; 0 keeps to the batch.
        memory_start: the first step that uses the memory.
    """

    reduction: Literal["mean_active", "mean", "sum"] = "mean_active"
    dice: float = 0.0
    label_smoothing: float = 0.0
    weighting: Literal["fixed", "uncertainty"] = "fixed"
    memory: int = 0
    memory_start: int = 0


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with a warm-up and a cosine descent.

    Args:
        lr: the highest learning rate.
        weight_decay: decoupled weight decay.
        schedule: 'cosine' warms up and descends to zero over the run; 'constant' stays after the warm-up.
        warmup: share of all steps spent warming up.
        clip: largest gradient norm; 0 does not clip.
        average: decay of the running average of the weights that is evaluated and kept; 0 keeps the last weights.
        proxy_lr: the highest learning rate of what a metric loss itself learns, such as proxies; they are not decayed.
    """

    lr: float = 1e-3
    proxy_lr: float = 1e-2
    weight_decay: float = 0.05
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: float = 0.1
    clip: float = 1.0
    average: float = 0.98


@dataclass(frozen=True)
class TrainerConfig:
    """The training loop.

    Args:
        precision: of Lightning: '32-true', 'bf16-mixed', '16-mixed'.
        accelerator: 'auto', 'cpu', 'gpu', 'mps'.
        devices: how many, or 'auto'.
        patience: stop after so many validations without a better TPR@FPR=5%; 0 never stops early.
        validate_every: epochs between validations.
        on_nonfinite: 'stop' or 'skip' a step whose loss is not finite; either way the step and its items are reported.
        deterministic: ask torch for repeatable algorithms.
    """

    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    accelerator: str = "auto"
    devices: int | Literal["auto"] = "auto"
    patience: int = 0
    validate_every: int = 1
    on_nonfinite: Literal["stop", "skip"] = "stop"
    deterministic: bool = False


@dataclass(frozen=True)
class TrainConfig:
    """A training run.

    Args:
        data: a table (.csv, .parquet), a folder of images, or digits, omniglot, oxford-pets, lfw.
        root: where the archives or downloads of a named data set lie.
        split: 'auto' takes the table's split column where there is one, else an open-set split.
        run: the run folder; runs/NAME-1, -2, … where not given.
        resume: continue the run in this folder from its last checkpoint.
        epochs: how many epochs; an epoch shows every training image about once.
        batch_size: images a step.
        samples_per_class: images of each identity in a batch (K); batch_size / K identities (P).
        alpha: weight of the classification loss.
        beta: weight of the segmentation loss.
        gamma: weight of the triplet loss.
        margin: the triplet margin: a number, 'soft', or 'auto': after the first epoch, the median of
            |d(a,n) - d(a,p)| over held-out triplets; 0.2 until then.
        mining: which triplets are learnt from.
        metric_loss: the metric term by name: triplet, a pair or a proxy loss such as multi-similarity or arcface (a
            name that is not known is answered with all of them), or pml:CLASS for any loss of pytorch-metric-learning.
        metric_loss_options: settings of that loss by name, as in its class.
        metric: distance between embeddings.
        seed: of everything random.
        target_fpr: false-positive rate that the verification threshold is set for.
        images: how images reach the network.
        model: the network.
        loss: what the terms cost.
        optimizer: how the weights move.
        trainer: the training loop.
    """

    data: str = "digits"
    root: Path | None = None
    split: Literal["auto", "open-set", "closed-set"] = "auto"
    run: Path | None = None
    resume: Path | None = None
    epochs: int = 15
    batch_size: int = 64
    samples_per_class: int = 4
    alpha: float = 1.0
    beta: float = 1.0
    gamma: float = 1.0
    margin: float | Literal["soft", "auto"] = 0.2
    mining: Mining = "semihard"
    metric_loss: str = "triplet"
    metric_loss_options: dict[str, Any] = field(default_factory=dict)
    metric: Metric = "cosine"
    seed: int = 0
    target_fpr: float = 0.05
    images: ImageConfig = field(default_factory=ImageConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)


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
