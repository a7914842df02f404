"""Which store a name stands for: a folder and object storage are LanceDB's, ``qdrant://`` is a server's."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from triune.errors import InputError
from triune.run.places import MODEL
from triune.serving.exported.card import SUFFIX
from triune.serving.gallery.card import GalleryCard
from triune.serving.gallery.lance import LanceStore, is_url, require_empty
from triune.serving.gallery.qdrant import SCHEMES, QdrantStore
from triune.serving.gallery.store import Store
from triune.serving.pictures import require_path


def create_store(name: str, card: GalleryCard, columns: Mapping[str, pl.DataType]) -> Store:
    """A new store without rows.

    Args:
        name: a folder, a URL of object storage, or ``qdrant://host:port/name``.
        card: what the gallery says of itself.
        columns: the types of the columns but for embeddings and thumbnails.

    Raises:
        InputError: something is there already.
    """
    kind = QdrantStore if is_qdrant(name) else LanceStore
    return kind.create(name, card, columns)


def open_store(name: str) -> Store:
    """The store that is there.

    Raises:
        InputError: there is none.
    """
    require_path(name, "the gallery")
    what = _network_in(name)
    if what is not None:
        raise InputError(
            f"{name} is {what}, and no gallery: `triune index {name} IMAGES --output GALLERY` makes one by it"
        )
    return QdrantStore.open(name) if is_qdrant(name) else LanceStore.open(name)


def _network_in(name: str) -> str | None:
    """What makes galleries and was named in the place of one; ``None`` of anything else."""
    path = Path(name)
    if path.suffix.lower() == SUFFIX and path.is_file():
        return "an exported file"
    if path.name == MODEL and path.is_file():
        return "the network of a run"
    return "a run" if (path / MODEL).is_file() else None


def is_qdrant(name: str) -> bool:
    """Whether a name stands for a collection of a Qdrant server."""
    return name.partition("://")[0] in SCHEMES and "://" in name


def require_free(name: str) -> None:
    """Refuse a place where something is already, before anything is embedded.

    Raises:
        InputError: something is there.
    """
    require_path(name, "the gallery")
    if is_url(name):
        if is_there(name):
            raise InputError(f"{name} is there already: go on with it (--add), or name another place")
    else:
        require_empty(name)


def is_there(name: str) -> bool:
    """Whether there is a gallery of that name."""
    try:
        open_store(name)
    except InputError:
        return False
    return True
