"""A run as torch's own exported program (``.pt2``): for who serves with torch, but not with this package."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from triune.errors import InputError
from triune.files import written_whole
from triune.serving.exported.card import EMBEDDING, PROBABILITIES, ExportCard
from triune.serving.exported.compared import AT_ONCE, Difference, Shown
from triune.serving.exported.export import (
    CLOSE,
    Export,
    ExportOptions,
    as_stored,
    card_of,
    check_new,
    check_part,
    shown_images,
    whole_network,
)
from triune.serving.exported.graph import WholeNetwork, as_program, in_silence
from triune.serving.trained import TrainedNetwork

PROGRAM: Final = ".pt2"

CARD_FILE: Final = "triune.json"
"""The card within the file: ``torch.export.load(path, extra_files={"triune.json": ""})`` gives it."""


def export_program(network: TrainedNetwork, path: Path, options: ExportOptions) -> Export:
    """Write a run as one ``.pt2`` file, once its answers are known to be the run's own.

    ``torch.export.load(path).module()`` takes prepared images ``(B, H, W, C)`` uint8 and gives the outputs of an ONNX
    file, in the same order.

    Args:
        network: of the run.
        path: a new file that ends in ``.pt2``.
        options: what of it.

    Raises:
        InputError: the file is there already, the part is not there, 8 bits are asked for, torch.export does not take
            the network, or the program's answers are not the network's.
    """
    check_new(path, PROGRAM)
    check_part(network, options.part)
    if options.int8:
        raise InputError("8 bits are for ONNX files: let the name end in .onnx, or leave int8 away")
    whole = whole_network(network, options.part)
    program = as_program(whole, network.trained)
    found = tuple(_difference(network, whole, program.module(), each) for each in shown_images(network, options.check))
    for each in found:
        if not max(each.embedding or 0.0, each.probability or 0.0) <= CLOSE:
            raise InputError(
                f"the exported program of {network.source} does not answer as the network does: of {each.shown} "
                f"{each.kind} embeddings differ by up to {each.embedding}, probabilities by {each.probability}; "
                "nothing was written"
            )
    card = card_of(network, options, None).model_copy(update={"checked": as_stored(found[0])})
    with written_whole(path) as temporary, in_silence():
        torch.export.save(program, temporary, extra_files=_extras(card))
    return Export(path, path.stat().st_size, card, found)


def _extras(card: ExportCard) -> dict[str, Any]:
    return {CARD_FILE: card.model_dump_json()}


def _difference(network: TrainedNetwork, whole: WholeNetwork, program: Any, shown: Shown) -> Difference:
    """How far the program's answers lie from the network's."""
    most = dict.fromkeys(whole.outputs, 0.0)
    for batch in _batches(network, shown):
        with torch.inference_mode():
            ours, theirs = whole(batch), program(batch)
        for name, one, other in zip(whole.outputs, ours, theirs, strict=True):
            most[name] = max(most[name], float((one - other).abs().max()))
    return Difference(len(shown.images), shown.kind, most.get(EMBEDDING), most.get(PROBABILITIES), None)


def _batches(network: TrainedNetwork, shown: Shown) -> Sequence[torch.Tensor]:
    trained = network.trained
    pixels = [
        network.preprocessing.image(
            each.source, trained.channels, each.box if trained.boxes else None, trained.image_bits
        ).pixels
        for each in shown.images
    ]
    return [torch.from_numpy(np.stack(pixels[k : k + AT_ONCE])) for k in range(0, len(pixels), AT_ONCE)]
