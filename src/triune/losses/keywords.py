"""The arguments of losses and miners by either name: ours, or that of pytorch-metric-learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from torch import Tensor

from triune.distances.embeddings import Embeddings
from triune.losses.compared import BatchLabels

OURS = {"indices_tuple": "indices", "ref_emb": "reference", "ref_labels": "reference_labels"}
"""What pytorch-metric-learning's names are called here."""


class PeerReference(TypedDict, total=False):
    """A reference set by pytorch-metric-learning's names."""

    ref_emb: Embeddings | None
    ref_labels: BatchLabels | None


class PeerNames(PeerReference, total=False):
    """All that its losses take beside embeddings and labels."""

    indices_tuple: Sequence[Tensor] | None


def by_either_name(peer_names: Mapping[str, Any], **given: Any) -> tuple[Any, ...]:
    """The arguments in their order, each from whichever of its two names it was given by.

    Args:
        peer_names: arguments by the names of pytorch-metric-learning.
        given: the same arguments by ours, None where not given.

    Raises:
        TypeError: a name is not known, or an argument is given by both.
    """
    for name, value in peer_names.items():
        ours = OURS.get(name)
        if ours not in given:
            raise TypeError(f"{name!r} is no argument here; known are {', '.join(given)}")
        if value is not None and given[ours] is not None:
            raise TypeError(f"{ours} and {name} are one argument: give one of them")
        given[ours] = given[ours] if value is None else value
    return tuple(given.values())
