"""What is searched for: images or embeddings, as unit embeddings with names."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from triune.errors import InputError
from triune.serving.answers import readable
from triune.serving.gallery.exact import unit_queries, unit_rows
from triune.serving.pictures import Given, pictures

if TYPE_CHECKING:
    from triune.serving.loaded import LoadedRun

Array: TypeAlias = np.ndarray[Any, Any]


def queries_of(
    queries: Given | Array, run: "Callable[[], LoadedRun]", dim: int, gallery: str, left_out: list[str] | None
) -> tuple[list[str], Array]:
    """Names, and unit embeddings ``(N, D)``.

    Args:
        queries: any images, or embeddings ``(N, D)`` of floats.
        run: gives the network that embeds images.
        dim: D of the gallery.
        gallery: what it is called in an error.
        left_out: gets the images that cannot be read, each with the reason. Without it, such an image is an error.

    Raises:
        InputError: an image cannot be read, none of them can, or embeddings are not such as the gallery holds.
    """
    if isinstance(queries, np.ndarray) and queries.ndim == 2 and queries.dtype.kind == "f":
        return [f"query {place}" for place in range(len(queries))], unit_queries(queries, dim, gallery)
    images = pictures(queries)
    unread: list[str] = []
    answers = list(readable(run().embed_each(images, skip=left_out is not None), unread))
    if left_out is not None:
        left_out += unread
    if not answers:
        raise InputError(f"none of the {len(unread)} images could be read; the first is {unread[0]}")
    rows = [each.embedding for each in answers if each.embedding is not None]
    return [each.name for each in answers], unit_rows(np.stack(rows))
