"""What tests of galleries share: pictures, a table of them, and a run whose embeddings are the pictures' colours."""

import os
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from qdrant_client import QdrantClient

from triune.data.decode import decode_image
from triune.errors import InputError
from triune.serving.answers import ImagePrediction, Unreadable
from triune.serving.gallery import qdrant

SIDE = 4
DIM = 3 * SIDE * SIDE
STAND_IN = [QdrantClient(":memory:")]


@dataclass(frozen=True)
class ColourRun:
    """A run in use whose embedding is the picture at 4 x 4 pixels, at unit length."""

    name: str = "colours"
    fingerprint: str = "f1"
    metric: str = "cosine"
    dim: int = DIM
    weights: Path | None = None

    def embed_each(self, images, *, skip=False, batch_size=64, progress=None):
        for place, each in enumerate(images):
            try:
                pixels, size = decode_image(each.source, 3, (SIDE, SIDE))
            except (OSError, ValueError) as error:
                if not skip:
                    raise InputError(f"{each.name} cannot be read as an image: {error}") from error
                yield Unreadable(each.name, str(error))
                continue
            row = pixels.astype(np.float64).ravel() - 127.3
            yield ImagePrediction(each.name, size, embedding=(row / np.linalg.norm(row)).astype(np.float32))
            if progress is not None:
                progress(place + 1, len(images))

    def embed(self, images, *, batch_size=64, progress=None):
        from triune.serving.pictures import pictures

        return np.stack([each.embedding for each in self.embed_each(pictures(images))])


@pytest.fixture
def run():
    return ColourRun()


def write_pictures(folder: Path, count=12, kinds=("cup", "dog", "car")):
    """``KIND/K.png``: noise of its own for each, and a table of them with prices as text."""
    g = np.random.default_rng(7)
    lines = ["image,label,identity,price,note"]
    for k in range(count):
        kind = kinds[k % len(kinds)]
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(g.integers(0, 256, (12, 16, 3)).astype(np.uint8)).save(folder / kind / f"{k:02d}.png")
        lines.append(f"{kind}/{k:02d}.png,{kind},{kind}{k % 2},{k * 5},it's no. {k}")
    table = folder / "items.csv"
    table.write_text("\n".join(lines) + "\n")
    return table


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    """``qdrant:///name`` is qdrant-client's stand-in within tests; elsewhere a name without a server is refused."""
    monkeypatch.setattr(qdrant, "_STAND_IN", STAND_IN)


def servers():
    """Kinds of places: a folder, a URL, qdrant-client's stand-in; object storage and a server where one is named."""
    named = {"storage": "TRIUNE_STORAGE", "server": "TRIUNE_QDRANT"}
    return ["folder", "url", "qdrant", *(kind for kind, variable in named.items() if variable in os.environ)]


@pytest.fixture(params=servers())
def place(request, tmp_path):
    """A name where no gallery is yet."""
    if request.param in ("folder", "url"):
        yield f"{'file://' if request.param == 'url' else ''}{tmp_path / 'G'}"
        return
    if request.param == "storage":
        yield f"{os.environ['TRIUNE_STORAGE']}/{uuid.uuid4().hex}"
        return
    address = os.environ["TRIUNE_QDRANT"] if request.param == "server" else ""
    name = f"qdrant://{address}/{uuid.uuid4().hex}"
    yield name
    client, collection = qdrant._connected(name)
    client.delete_collection(collection)


@pytest.fixture
def table(tmp_path):
    return write_pictures(tmp_path / "pictures")
