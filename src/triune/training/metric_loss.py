"""The metric term by name: our triplet loss, a pair or proxy loss of ours, or any loss of pytorch-metric-learning."""

import inspect
from typing import Any

from torch import nn

from triune.errors import InputError
from triune.losses.joined import DistributedTripletLoss, JoinedLoss
from triune.losses.memory import CrossBatchMemory
from triune.losses.names import PAIR_LOSSES, PROXY_LOSSES
from triune.run.settings import TrainConfig

PEER = "pml:"
FIRST_MARGIN = 0.2
"""Of ``--margin auto`` until the first validation chooses one."""


def metric_loss(config: TrainConfig, identities: int) -> nn.Module:
    """The criterion that ``--metric_loss`` names, called as ``criterion(embeddings, labels)``.

    Args:
        config: the settings; ``metric_loss_options`` are the criterion's own, by name.
        identities: how many identities training has; proxy losses keep a proxy for each.

    Raises:
        InputError: the name or an option is not known, or pytorch-metric-learning is not installed.
    """
    name, options = config.metric_loss, dict(config.metric_loss_options)
    if name == "triplet":
        margin = FIRST_MARGIN if config.margin == "auto" else config.margin
        settings: dict[str, Any] = {"mining": config.mining, "reduction": config.loss.reduction, **options}
        made = _made(DistributedTripletLoss, name, margin=margin, metric=config.metric, **settings)
        if config.loss.memory == 0:
            return made
        return _made(
            CrossBatchMemory,
            name,
            criterion=made,
            size=config.loss.memory,
            embedding_dim=config.model.embedding_dim,
            start=config.loss.memory_start,
        )
    if config.loss.memory:
        raise InputError(f"loss.memory is for the triplet loss, not {name}")
    if name in PAIR_LOSSES:
        if options.get("num_classes") == "auto":  # of the margin loss, which has one boundary where not asked
            options["num_classes"] = identities
        return JoinedLoss(_made(PAIR_LOSSES[name], name, **options))
    if name in PROXY_LOSSES:
        if config.images.collages:
            raise InputError(
                f"metric_loss {name} keeps a proxy for each identity and images.collages invents identities: "
                "use one of the two"
            )
        sizes = {"num_classes": identities, "embedding_dim": config.model.embedding_dim}
        return _made(PROXY_LOSSES[name], name, **sizes, **options)
    if name.startswith(PEER):
        return _peer(name.removeprefix(PEER), options, identities, config.model.embedding_dim)
    known = ["triplet", *PAIR_LOSSES, *PROXY_LOSSES, f"{PEER}CLASS"]
    raise InputError(f"there is no metric_loss {name!r}; known are {', '.join(known)}")


def _peer(name: str, options: dict[str, Any], identities: int, width: int) -> nn.Module:
    try:
        from pytorch_metric_learning import losses
    except ImportError as error:
        raise InputError(f"{PEER}{name} needs pytorch-metric-learning: pip install 'triune[compare]'") from error
    kind = getattr(losses, name, None)
    if not (inspect.isclass(kind) and issubclass(kind, nn.Module)):
        raise InputError(f"pytorch-metric-learning has no loss {name!r}; its names are like TripletMarginLoss")
    # Some pass their sizes on to a parent through **kwargs.
    wanted = {parameter for cls in inspect.getmro(kind) for parameter in _parameters(cls)}
    sizes = {"num_classes": identities, "embedding_size": width}
    return _made(kind, f"{PEER}{name}", **{k: v for k, v in sizes.items() if k in wanted}, **options)


def _made(kind: type[nn.Module], name: str, **options: Any) -> nn.Module:
    try:
        return kind(**options)
    except (TypeError, ValueError) as error:
        taken = [p for p in _parameters(kind) if p not in ("self", "args", "kwargs")]
        raise InputError(f"metric_loss {name}: {error}; its options are {', '.join(taken)}") from error


def _parameters(kind: type) -> list[str]:
    """Names that a class takes when it is made."""
    made: Any = vars(kind).get("__init__", object.__init__)
    return list(inspect.signature(made).parameters)
