"""What is searched for: images or embeddings, as unit embeddings with names."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from triune.errors import InputError
from triune.plurals import plural
from triune.ranges import is_number, is_whole
from triune.serving.answers import readable
from triune.serving.gallery.exact import unit_queries, unit_rows
from triune.serving.networks import Progress
from triune.serving.pictures import Given, pictures

if TYPE_CHECKING:
    from triune.serving.loaded import LoadedRun

Array: TypeAlias = np.ndarray[Any, Any]


def check_asked(k: int, diversity: float, *, given: bool, liked: bool, disliked: bool) -> None:
    """Refuse a search that says not what it looks for, or how.

    Args:
        k: how many rows are wanted.
        diversity: how much they should differ.
        given: whether there are queries.
        liked: whether there are items that are liked.
        disliked: whether there are items that are disliked.

    Raises:
        InputError: k or the diversity is out of its range, or there are not either queries or liked items.
    """
    if not (is_whole(k) and k >= 1):
        raise InputError(f"k is {k!r}: a whole number of at least 1 is needed")
    if not (is_number(diversity) and 0 <= diversity <= 1):
        raise InputError(f"diversity is {diversity}: a number from 0 to 1 is needed")
    if disliked and not liked:
        raise InputError("unlike needs like: give at least one item that is liked")
    if given == liked:
        raise InputError("give images to look for, or like (and unlike): one of the two")


def check_fpir(fpir: float) -> None:
    """Refuse what is no false-positive identification rate.

    Raises:
        InputError: it is not between 0 and 1.
    """
    if not (is_number(fpir) and 0 < fpir < 1):
        raise InputError(f"fpir is {fpir}: a rate between 0 and 1, such as 0.01, is needed")


def queries_of(
    queries: Given | Array,
    run: "Callable[[], LoadedRun]",
    dim: int,
    gallery: str,
    left_out: list[str] | None,
    progress: Progress | None = None,
) -> tuple[list[str], Array]:
    """Names, and unit embeddings ``(N, D)``.

    Args:
        queries: any images, or embeddings ``(N, D)`` of floats.
        run: gives the network that embeds images.
        dim: D of the gallery.
        gallery: what it is called in an error.
        left_out: gets the images that cannot be read, each with the reason. Without it, such an image is an error.
        progress: called with the numbers of images that are embedded and of all.

    Raises:
        InputError: an image cannot be read, none of them can, or embeddings are not such as the gallery holds.
    """
    if isinstance(queries, np.ndarray) and queries.ndim == 2 and queries.dtype.kind == "f":
        return [f"query {place}" for place in range(len(queries))], unit_queries(queries, dim, gallery)
    images = pictures(queries)
    unread: list[str] = []
    answers = list(readable(run().embed_each(images, skip=left_out is not None, progress=progress), unread))
    if left_out is not None:
        left_out += unread
    if not answers:
        raise InputError(f"none of {plural(len(unread), 'image')} could be read; the first is {unread[0]}")
    rows = [each.embedding for each in answers if each.embedding is not None]
    return [each.name for each in answers], unit_rows(np.stack(rows))
