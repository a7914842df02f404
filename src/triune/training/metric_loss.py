"""From the settings of a run to its metric term."""

from typing import Any

from torch import nn

from triune.data.batches import ClassBalancedBatchSampler
from triune.errors import InputError
from triune.losses.joined import DistributedTripletLoss, JoinedLoss
from triune.losses.memory import CrossBatchMemory
from triune.losses.names import PEER, PROXY_LOSSES, TRIPLET, make_criterion
from triune.losses.pairs import PairLoss
from triune.losses.triplet import TripletLoss
from triune.run.settings import TrainConfig

FIRST_MARGIN = 0.2
"""Of ``--margin auto`` until the first validation chooses one."""


def metric_loss(config: TrainConfig, identities: int) -> nn.Module:
    """The criterion that ``--metric_loss`` names, see :func:`triune.losses.names.make_criterion`.

    Args:
        config: the settings; ``metric_loss_options`` are the criterion's own, by name.
        identities: how many identities training has.

    Raises:
        InputError: the name or an option is not known, or the settings do not go together.
    """
    name, options = config.metric_loss, dict(config.metric_loss_options)
    if name == TRIPLET:
        margin = FIRST_MARGIN if config.margin == "auto" else config.margin
        run = {"margin": margin, "metric": config.metric, "mining": config.mining, "reduction": config.loss.reduction}
        options = run | options
    if name in PROXY_LOSSES and config.images.collages:
        raise InputError(
            f"metric_loss {name} keeps a proxy for each identity and images.collages invents identities: "
            "use one of the two"
        )
    return make_criterion(
        name,
        options,
        num_classes=identities,
        embedding_dim=config.model.embedding_dim,
        memory=config.loss.memory,
        memory_start=config.loss.memory_start,
    )


def check_samples(config: TrainConfig) -> None:
    """Refuse batches in which no two images are of one identity, where the loss learns from such pairs.

    Raises:
        InputError: the settings ask for them.
    """
    name = config.metric_loss
    needs_pairs = name not in PROXY_LOSSES and not name.startswith(PEER)
    if config.samples_per_class == 1 and config.learns_embedding and needs_pairs:
        raise InputError(
            f"--samples_per_class is 1, and metric_loss {name} learns from pairs of images of one identity: give 2 or "
            f"more, or a loss with proxies ({', '.join(sorted(PROXY_LOSSES))})"
        )


def check_learnable(config: TrainConfig, identities: int, batches: Any) -> None:
    """Refuse a training in which the metric loss would be told of no two identities at once.

    Args:
        config: the settings.
        identities: how many are trained on.
        batches: the batch sampler of an epoch.

    Raises:
        InputError: there is a single identity; or batches hold one each, and the loss knows no others by a memory or
            proxies.
    """
    if not config.learns_embedding or not identities:
        return
    if identities == 1:
        raise InputError(
            "split train: there is 1 identity, so there is no other to tell it from: add identities, or train without "
            "the metric loss (--gamma 0)"
        )
    has_others = config.metric_loss in PROXY_LOSSES or config.loss.memory or config.images.collages
    if isinstance(batches, ClassBalancedBatchSampler) and batches.classes_per_batch < 2 and not has_others:
        size, samples = config.images_a_batch, batches.samples_per_class
        raise InputError(
            f"--batch_size {size} has room for one identity of {samples} images, so there is no other to tell it from: "
            f"give --batch_size {2 * samples} or more"
        )


def over_processes(criterion: nn.Module) -> nn.Module:
    """A criterion that takes the joined batch of all processes, where it is a plain triplet loss, in a memory or not.

    Others are joined as they are called, see :class:`~triune.model.objective.MultiTaskObjective`.

    Args:
        criterion: of the settings, or a user's own.
    """
    if type(criterion) is TripletLoss:
        joined = DistributedTripletLoss()
        vars(joined).update(vars(criterion))
        return joined
    if isinstance(criterion, CrossBatchMemory):
        held = criterion.criterion
        criterion.criterion = JoinedLoss(held) if isinstance(held, PairLoss) else over_processes(held)  # type: ignore[assignment]
    return criterion
