"""A network as an ONNX graph: preprocessing in it, all heads as outputs, any number of images at a time."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from triune.data.normalising import normalise
from triune.errors import InputError
from triune.model.network import MultiTaskModel, looks_of
from triune.run.card import ModelCard
from triune.serving.exported.card import EMBEDDING, INPUT, LOOKS, MASK_LOGITS, PROBABILITIES, Part

if TYPE_CHECKING:
    from onnx import ModelProto

EXAMPLES = 2
"""Images of the batch that the graph is traced with: of one, torch would take it that there is always one."""


class WholeNetwork(nn.Module):
    """From bytes of prepared images to answers, in the order of :meth:`outputs`.

    Args:
        model: the network.
        card: how images are normalised.
        part: all heads, or the embedding alone.
        looks: whether it also says how images look, by which unfamiliar ones are told.
    """

    def __init__(self, model: MultiTaskModel, card: ModelCard, part: Part, *, looks: bool) -> None:
        super().__init__()
        self.model, self.mean, self.std = model, card.mean, card.std
        everything = part == "all"
        self.classes = everything and model.class_head is not None
        self.masks = everything and model.mask_head is not None
        self.looks = looks

    @property
    def outputs(self) -> list[str]:
        """The names of what :meth:`forward` gives."""
        there = [(EMBEDDING, self.model.embedding_dim > 0), (PROBABILITIES, self.classes), (MASK_LOGITS, self.masks)]
        return [name for name, is_there in there if is_there] + list(LOOKS if self.looks else ())

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Answers to ``images (B, H, W, C)`` uint8."""
        seen = normalise(images.permute(0, 3, 1, 2), self.mean, self.std)
        maps = self.model.maps(seen)
        found = self.model.answer(seen, classes=self.classes, masks=self.masks, maps=maps)
        shares = None if found.class_logits is None else found.class_logits.softmax(1)
        masks = found.mask_logits if self.masks else None
        answers = [each for each in (found.embedding, shares, masks) if each is not None]
        return (*answers, *(looks_of(maps) if self.looks else ()))


def example(card: ModelCard, count: int = EXAMPLES) -> Tensor:
    """Images ``(count, H, W, C)`` uint8 by chance, always the same ones."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, *card.size, card.channels), dtype=torch.uint8, generator=generator)


def as_onnx(network: WholeNetwork, card: ModelCard) -> "ModelProto":
    """The graph of a network.

    Args:
        network: on the processor, in evaluation mode.
        card: says which images it takes.

    Raises:
        InputError: torch cannot make a graph of it; the reason in a line.
    """
    given = example(card)
    with torch.inference_mode():
        network(given)  # what a network keeps for images of this size is learnt before it is traced
    try:
        with in_silence():
            program: Any = torch.onnx.export(
                network,
                (given,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                input_names=[INPUT],
                output_names=network.outputs,
                verbose=False,
            )
    except Exception as error:  # of very many kinds, from the tracer, the translator and the optimiser
        backbone = card.model.backbone
        raise InputError(f"torch makes no ONNX graph of a network with {backbone}: {_first_line(error)}") from error
    proto: ModelProto = program.model_proto
    return proto


def as_program(network: WholeNetwork, card: ModelCard) -> Any:
    """A network as torch's own exported program, which ``torch.export.load`` reads.

    Args:
        network: on the processor, in evaluation mode.
        card: says which images it takes.

    Raises:
        InputError: torch cannot export it; the reason in a line.
    """
    given = example(card)
    try:
        with torch.inference_mode():
            network(given)
        with in_silence(), torch.no_grad():
            return torch.export.export(network, (given,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    except Exception as error:  # as above
        backbone = card.model.backbone
        raise InputError(f"torch.export takes no network with {backbone}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]


@contextmanager
def in_silence() -> Iterator[None]:
    """Without what torch's exporter prints of its progress and warns of in its own code."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
