"""An ONNX file read with nothing followed, fetched or run: what is not whole, or not ours, is refused."""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from triune.errors import InputError
from triune.files import regular_file
from triune.run.familiar import Familiar, familiar_from
from triune.serving.exported.card import CARD, FAMILIAR, FIGURES, METADATA_DIGEST, ExportCard, parse_card
from triune.serving.libraries import library

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto

MOST_BYTES: Final = (1 << 31) - 1
"""Of a protobuf message, which an ONNX file is: a larger one keeps its weights in other files."""

DOMAINS: Final = ("", "ai.onnx", "com.microsoft")
"""Whose operators ONNX Runtime has without any library being loaded for them."""

_METADATA: Final = 14
"""The number of the field metadata_props of an ONNX model."""

_WITH_LENGTH: Final = 2
"""The kind of protobuf's fields that say how long they are."""

_BYTES: Final = {1: 8, 5: 4}
"""The length of those that have one."""

EXTRA: Final = "export"
"""The extra that has what reads and writes such files."""


class ExportedFile(NamedTuple):
    """What an exported file holds.

    Args:
        content: all of it.
        card: what it says of itself.
        familiar: what its run knows the look of; ``None`` where it does not say.
        figures: what its run was found to be, as JSON; likewise.
    """

    content: bytes
    card: ExportCard
    familiar: Familiar | None
    figures: str | None


def read_exported(path: Path) -> ExportedFile:
    """Read a file that `triune export` wrote.

    Raises:
        InputError: it is not there, cut short, damaged or another one; or its weights lie in other files.
    """
    onnx = library("onnx", EXTRA)
    if not path.exists():
        raise InputError(f"{path} does not exist: `triune export RUN --output {path}` makes one")
    size = regular_file(path).stat().st_size
    if not size:
        raise InputError(f"{path} is empty: copy or export it again")
    if size > MOST_BYTES:
        raise InputError(f"{path} is larger than 2 GiB, which no ONNX file is that Triune writes")
    content = path.read_bytes()
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own kinds, which differ from version to version
        raise InputError(
            f"{path} is no whole ONNX file: it is cut short, damaged or another one; copy or export it again"
        ) from error
    metadata = {each.key: each.value for each in model.metadata_props}
    if CARD not in metadata:
        raise InputError(f"{path} holds no model card of Triune: name a file that `triune export` wrote")
    # Before anything else is said of the entries: a damaged one would be told as a fault of its content.
    if metadata.get(METADATA_DIGEST) != digest_of_entries((each.key, each.value) for each in model.metadata_props):
        raise InputError(f"{path} is damaged: its metadata are not what was written; copy or export it again")
    card = parse_card(metadata[CARD], str(path))
    foreign = sorted({each.domain for each in model.opset_import} - set(DOMAINS))
    if foreign or model.functions:
        raise InputError(f"{path} needs operators of its own ({', '.join(foreign) or 'functions'}): export it again")
    if any(each.data_location or each.external_data for each in tensors_of(model)):
        raise InputError(f"{path} names other files for its weights, which are not read: export it again")
    if digest_of(content) != card.digest:
        raise InputError(f"{path} is damaged: it is not what was written; copy or export it again")
    return ExportedFile(content, card, _familiar(path, metadata.get(FAMILIAR)), metadata.get(FIGURES))


def _familiar(path: Path, stored: str | None) -> Familiar | None:
    if stored is None:
        return None
    try:
        content = base64.b64decode(stored, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"{path}, metadata {FAMILIAR}: it is damaged") from error
    return familiar_from(content, f"{path}, metadata {FAMILIAR}")


def digest_of(content: bytes) -> str:
    """The SHA-256 of a whole ONNX file but for its metadata, which can thus hold it.

    A protobuf message is a sequence of fields: a number that says which and of what kind, then its value.

    Args:
        content: of a file that can be read.
    """
    hashed, view, place = hashlib.sha256(), memoryview(content), 0
    while place < len(content):
        start = place
        key, place = _number(content, place)
        if key & 7 == _WITH_LENGTH:
            length, place = _number(content, place)
            place += length
        elif key & 7 in _BYTES:
            place += _BYTES[key & 7]
        else:
            place = _number(content, place)[1]
        if key >> 3 != _METADATA:
            hashed.update(view[start:place])
    return hashed.hexdigest()


def digest_of_entries(entries: Iterable[tuple[str, str]]) -> str:
    """The SHA-256 of a file's metadata but for the entry that holds it.

    Args:
        entries: keys and values, in their order.
    """
    others = [[key, value] for key, value in entries if key != METADATA_DIGEST]
    return hashlib.sha256(json.dumps(others).encode()).hexdigest()


def _number(content: bytes, place: int) -> tuple[int, int]:
    """The number that begins at a place, seven bits a byte, and where it ends."""
    value = shift = 0
    while True:
        byte = content[place]
        value, shift, place = value | (byte & 127) << shift, shift + 7, place + 1
        if byte < 128:
            return value, place


def tensors_of(model: "ModelProto") -> Iterator["TensorProto"]:
    """All tensors that a model holds: weights and constants, those of graphs within its graph among them."""
    yield from _of_graph(model.graph)


def _of_graph(graph: "GraphProto") -> Iterator["TensorProto"]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from _of_attribute(attribute)


def _of_attribute(attribute: Any) -> Iterator["TensorProto"]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    sparse = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
    for each in (*sparse, *attribute.sparse_tensors):
        yield from (each.values, each.indices)
    graphs = [attribute.g] if attribute.HasField("g") else []
    for each in (*graphs, *attribute.graphs):
        yield from _of_graph(each)
