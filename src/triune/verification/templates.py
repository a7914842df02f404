"""Sets of images of one subject as one embedding each (IJB): templates, pooled and verified."""

from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from triune.distances.embeddings import Embeddings, as_embeddings, check_finite, unit
from triune.labels import Labels, encode_labels, encode_labels_together, plain_labels
from triune.pairs.listed import score_pairs
from triune.verification.roc import Verification, verify_scores

Array: TypeAlias = np.ndarray[Any, Any]


def pool_templates(
    embeddings: Embeddings, template_ids: Labels, media_ids: Labels | None = None
) -> tuple[Tensor, Array]:
    """One unit-length embedding for each template, a set of images of one subject (IJB-A/B/C).

    The images of one medium (the frames of a video) are averaged first, then the media of a template, so that a long
    video counts no more than a photograph (Klare et al. 2015; Whitelam et al. 2017). Embeddings are averaged as they
    are: divide them by their length before, where a network's lengths should not weigh them. Sums are in float64.
    O(N·D), one reading of the embeddings: not divided over processes.

    Args:
        embeddings: ``(N, D)``.
        template_ids: ``(N,)`` integers or strings.
        media_ids: ``(N,)``; a medium is told by its id *within* its template. Where not given, every image is one.

    Returns:
        Templates ``(T, D)`` of unit length, and their ids ``(T,)``, ascending.

    Raises:
        ValueError: an embedding is not finite, counts differ, or a template's mean is zero, which has no direction.
    """
    x = as_embeddings(embeddings).detach()
    check_finite(x)
    codes = encode_labels(template_ids, count=len(x), name="template_ids", device="cpu").numpy()
    known, rows, template = np.unique(codes, return_index=True, return_inverse=True)
    wide = x.to(torch.float32 if x.device.type == "mps" else torch.float64)
    if media_ids is not None:
        media = encode_labels(media_ids, count=len(x), name="media_ids", device="cpu").numpy()
        pairs, medium = np.unique(np.stack([template, media], axis=1), axis=0, return_inverse=True)
        wide, template = _means(wide, medium.reshape(-1), len(pairs)), pairs[:, 0]
    means = _means(wide, template, len(known))
    ids = plain_labels(template_ids, "template_ids")[rows]
    empty = (means == 0).all(dim=1).nonzero().flatten().tolist()
    if empty:
        raise ValueError(f"the embeddings of template {ids[empty[0]].item()!r} cancel out or are zero: leave it out")
    return unit(means).to(x.dtype), ids


def verify_templates(
    embeddings: Embeddings,
    template_ids: Labels,
    first: Labels,
    second: Labels,
    is_match: Tensor | Array | list[bool],
    *,
    media_ids: Labels | None = None,
) -> Verification:
    """The exact ROC of listed pairs of templates, scored by the cosine of their pooled embeddings.

    Args:
        embeddings: ``(N, D)``.
        template_ids: ``(N,)``.
        first: ``(P,)`` ids of templates.
        second: ``(P,)`` ids of those they are compared with.
        is_match: ``(P,)`` booleans, or 0 and 1.
        media_ids: ``(N,)``, as in :func:`pool_templates`.

    Raises:
        ValueError: as :func:`pool_templates` and :func:`~triune.verification.roc.verify_scores`, or an id has no image.
    """
    templates, ids = pool_templates(embeddings, template_ids, media_ids)
    rows, columns = _places(ids, first, "first"), _places(ids, second, "second")
    return verify_scores(score_pairs(templates, rows, columns), is_match)


def _means(x: Tensor, group: Array, count: int) -> Tensor:
    """Mean row of each group, ``(count, D)``."""
    place = torch.as_tensor(group, device=x.device)
    sizes = torch.bincount(place, minlength=count).to(x.dtype)
    return x.new_zeros(count, x.shape[1]).index_add_(0, place, x) / sizes[:, None]


def _places(ids: Array, asked: Labels, name: str) -> Array:
    """Where the asked ids stand among the known, distinct ones."""
    both = encode_labels_together(ids, asked, names=("template_ids", name), device="cpu")
    known, codes = (part.numpy() for part in both)
    order = np.argsort(known)
    places: Array = order[np.searchsorted(known, codes, sorter=order).clip(max=len(ids) - 1)]
    unknown = np.flatnonzero(known[places] != codes)
    if len(unknown):
        template = plain_labels(asked, name)[unknown[0]].item()
        raise ValueError(
            f"{name}[{unknown[0]}] asks for template {template!r}, which no image belongs to: leave the pair out, "
            f"or give the template's images ({len(unknown)} such pairs)"
        )
    return places
