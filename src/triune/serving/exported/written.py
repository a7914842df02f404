"""An ONNX model with what Triune says of it in its metadata, as the bytes of a file."""

import base64
from typing import TYPE_CHECKING

from triune._version import __version__
from triune.errors import InputError
from triune.evaluation.results import Results
from triune.run.familiar import Familiar, familiar_bytes
from triune.serving.exported.card import CARD, FAMILIAR, FIGURES, METADATA_DIGEST, ExportCard, in_other_words
from triune.serving.exported.file import MOST_BYTES, digest_of, digest_of_entries

if TYPE_CHECKING:
    from onnx import ModelProto


def opset_of(proto: "ModelProto") -> int:
    """The version of the ONNX operators that a model uses."""
    return next(int(each.version) for each in proto.opset_import if each.domain in ("", "ai.onnx"))


def content_of(
    proto: "ModelProto", card: ExportCard, familiar: Familiar | None, results: Results | None = None
) -> tuple[bytes, ExportCard]:
    """The bytes of a file that holds a model and its card, and the card with their digest.

    Args:
        proto: the model; its metadata are replaced.
        card: what is said of it.
        familiar: what its run knows the look of, where it is known.
        results: what its run was found to be, abridged, where that is known.

    Raises:
        InputError: its weights take 2 GiB or more.
    """
    if proto.ByteSize() > MOST_BYTES:
        raise InputError(
            f"{card.card.model.backbone} takes {proto.ByteSize() / 2**30:.1f} GiB, and no ONNX file holds more than 2: "
            "`--output model.pt2` has no such limit"
        )
    proto.producer_name, proto.producer_version = "triune", __version__
    proto.doc_string = (
        f"{card.source}, exported by Triune: its metadata say how to prepare images and what answers mean"
    )
    del proto.metadata_props[:]
    card = card.model_copy(update={"digest": digest_of(proto.SerializeToString())})
    entries = {CARD: card.model_dump_json(), **in_other_words(card)}
    if familiar is not None:
        entries[FAMILIAR] = base64.b64encode(familiar_bytes(familiar)).decode()
    if results is not None:
        entries[FIGURES] = results.model_dump_json(exclude_defaults=True)
    entries[METADATA_DIGEST] = digest_of_entries(entries.items())
    for key, value in entries.items():
        proto.metadata_props.add(key=key, value=value)
    return proto.SerializeToString(), card
