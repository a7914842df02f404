"""What an exported file says of itself, in its metadata: how to prepare images for it, and what its answers mean."""

import json
from typing import TYPE_CHECKING, Any, Final, Literal

from triune.files import Record, parse_record
from triune.ranges import Count, PositiveInt
from triune.run.card import ModelCard, migrated as migrated_model
from triune.run.thresholds import StoredThresholds, migrated as migrated_thresholds

if TYPE_CHECKING:
    from triune.evaluation.results import Results

FORMAT: Final = 1

SUFFIX: Final = ".onnx"

CARD: Final = "triune"
"""The metadata's entry that is an :class:`ExportCard` as JSON."""

FAMILIAR: Final = "triune.familiar"
"""The entry that is the run's ``familiar.safetensors`` in base64, where it has one."""

FIGURES: Final = "triune.figures"
"""The entry that is what of the run's ``metrics.json`` a file carries, as JSON, where the run has one."""

METADATA_DIGEST: Final = "triune.sha256"
"""The entry that is the SHA-256 of all others, of which the card has that of the rest of the file."""

INPUT: Final = "images"
"""``(B, H, W, C)`` uint8."""

EMBEDDING: Final = "embedding"
"""``(B, D)`` float32, of unit length."""

PROBABILITIES: Final = "probabilities"
"""``(B, C)`` float32."""

MASK_LOGITS: Final = "mask_logits"
"""``(B, M, H, W)`` float32: above 0 is foreground where M is 1; else the largest is the mask id."""

LOOKS: Final = ("look_finer", "look_coarser")
"""``(B, F)`` float32: how the images look to the backbone, by which unfamiliar ones are told."""

Part = Literal["all", "embedding"]
Precision = Literal["float32", "int8"]


class Checked(Record):
    """How the file's answers were compared with those of the network that it was made of.

    Args:
        images: how many, which were both given.
        kind: what they were.
        embedding: the largest difference of a number of an embedding; ``None`` without an embedding head.
        probability: of a class's probability.
        masks: the share of mask pixels whose id differs.
    """

    images: PositiveInt
    kind: Literal["validation images", "test images", "generated images"]
    embedding: float | None = None
    probability: float | None = None
    masks: float | None = None


class ExportCard(Record):
    """The content of the metadata's entry :data:`CARD`.

    Args:
        source: what the run's folder was called.
        fingerprint: SHA-256 of the network's weights. Embeddings of a run and of its float32 file may be compared, and
            so both have one; those of an int8 file have another.
        part: all heads, or the embedding alone.
        precision: of the numbers.
        triune: the version that wrote it.
        opset: of the ONNX operators; ``None`` of a file for torch.
        licence: of the model, as whoever exported it said; ``None`` where nobody did.
        weights_licence: of the published weights that the training began with, as timm says it; ``None`` where it began
            with others, or timm does not say.
        card: the run's model card.
        dim: length D of the embedding; 0 for none.
        thresholds: the run's ``thresholds.json``; ``None`` where it has none.
        stride: pixels by which the network's coarsest map is smaller than the image: tiles lie at multiples of it.
        digest: SHA-256 of all of the file but its metadata, by which damage is found.
        checked: how it was compared with the run's network; ``None`` of an int8 file, which is not equal to it.
    """

    format: Literal[1] = FORMAT
    source: str
    fingerprint: str
    part: Part = "all"
    precision: Precision = "float32"
    triune: str
    opset: PositiveInt | None
    licence: str | None = None
    weights_licence: str | None = None
    card: ModelCard
    dim: Count
    thresholds: StoredThresholds | None = None
    stride: PositiveInt
    digest: str
    checked: Checked | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Of the class head; empty without one."""
        return tuple(self.card.classes) if self.card.model.num_classes and self.part == "all" else ()

    @property
    def masks(self) -> bool:
        """Whether it says masks."""
        return self.card.model.mask_channels > 0 and self.part == "all"


def parse_card(text: str, source: str) -> ExportCard:
    """The card that a JSON text holds.

    Args:
        text: of the metadata.
        source: what messages call the file.

    Raises:
        InputError: it holds something else; one line that names the field.
    """
    return parse_record(text, ExportCard, f"{source}, metadata", _migrated)


def parse_figures(text: str, source: str) -> "Results":
    """What a run was found to be, as far as a file says it.

    Args:
        text: of the metadata.
        source: what messages call the file.

    Raises:
        InputError: it holds something else; one line that names the field.
    """
    from triune.evaluation.results import Results  # which a verdict does without

    return parse_record(text, Results, f"{source}, metadata {FIGURES}")


def _migrated(stored: Any) -> Any:
    """The run's own records in it may be of an earlier format."""
    if not isinstance(stored, dict):
        return stored
    parts = {"card": migrated_model, "thresholds": migrated_thresholds}
    return stored | {name: migrate(stored[name]) for name, migrate in parts.items() if stored.get(name) is not None}


def in_other_words(card: ExportCard) -> dict[str, str]:
    """What programs other than Triune may want to know, as plain entries of the metadata."""
    entries = {
        "classes": json.dumps(list(card.classes)),
        "preprocessing": (
            f"{INPUT}: uint8 (batch, {card.card.size[0]}, {card.card.size[1]}, {card.card.channels}), "
            f"{'RGB' if card.card.channels == 3 else 'grey'}, values 0 to 255, upright (EXIF applied), brought to that "
            f"size by '{card.card.fit}' with Pillow's {card.card.interpolation} filter. Mean and standard deviation "
            "are taken care of inside."
        ),
        "metric": card.card.metric,
        "licence": card.licence or "not stated",
        "triune_version": card.triune,
    }
    if card.thresholds is not None:
        entries["thresholds"] = json.dumps(
            [
                {"target_fpr": each.target_fpr, "accept_distance_up_to": each.distance, "validation_fpr": each.fpr,
                 "validation_tpr": each.tpr}
                for each in card.thresholds.thresholds
            ]
        )  # fmt: skip
    return entries
