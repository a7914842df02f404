"""A run becomes one file that carries its own preprocessing and thresholds, and is checked against the run."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import timm

from triune._version import __version__
from triune.errors import InputError
from triune.evaluation.abridged import abridged
from triune.evaluation.results import Results
from triune.files import written_whole
from triune.run.familiar import read_familiar
from triune.run.parser import read_config
from triune.run.places import folder_of
from triune.run.thresholds import StoredThresholds, read_thresholds
from triune.serving.exported.card import SUFFIX, Checked, ExportCard, Part
from triune.serving.exported.compared import Difference, Shown, differences, images_to_show
from triune.serving.exported.file import digest_of
from triune.serving.exported.graph import WholeNetwork, as_onnx
from triune.serving.exported.network import ExportedNetwork, session_of
from triune.serving.exported.quantised import Gains, gains, quantised, refitted
from triune.serving.exported.written import content_of, opset_of
from triune.serving.trained import TrainedNetwork
from triune.verification.roc import FPRS

CLOSE: Final = 1e-4
"""How far a number of an embedding, and a probability, of the file may lie from the network's own."""

CLOSE_MASKS: Final = 0.005
"""The share of mask pixels that may differ: those whose logit is 0 but for the last bits."""

SPLITS: Final[tuple[Literal["val", "test"], ...]] = ("val", "test")
"""On whose images a file is checked."""

MOST_CHECKED: Final = 1000
"""Images of each split that the file is checked on, where nothing else is asked for."""


@dataclass(frozen=True)
class Export:
    """A file that was written, and what it was found to be.

    Args:
        path: the file.
        size: its bytes.
        card: what it says of itself.
        checked: its answers beside the network's own: of validation images, and of test images where they are there.
        int8: of an int8 file, its answers beside those of the float32 file, likewise; empty of a float32 file.
        gains: what 8 bits save; ``None`` of a float32 file.
    """

    path: Path
    size: int
    card: ExportCard
    checked: tuple[Difference, ...]
    int8: tuple[Difference, ...] = ()
    gains: Gains | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "path": str(self.path),
            "bytes": self.size,
            "part": self.card.part,
            "precision": self.card.precision,
            "opset": self.card.opset,
            "fingerprint": self.card.fingerprint,
            "checked": [asdict(each) for each in self.checked],
            "int8": [asdict(each) for each in self.int8],
            "gains": None if self.gains is None else asdict(self.gains),
        }

    def __repr__(self) -> str:
        return f"<{self.path}: {self.card.part}, {self.card.precision}, {self.size / 1e6:.1f} MB>"


@dataclass(frozen=True)
class ExportOptions:
    """What of a run is exported.

    Args:
        part: all heads, or the embedding alone.
        licence: of the model, in words or as an SPDX identifier.
        check: images of each split that the file is checked on, at most.
        int8: whether weights and activations get 8 bits.
    """

    part: Part = "all"
    licence: str | None = None
    check: int = MOST_CHECKED
    int8: bool = False


def export_run(network: TrainedNetwork, path: Path, options: ExportOptions = ExportOptions()) -> Export:
    """Write a run as one ONNX file, once its answers are known to be the run's own.

    An int8 file is made of the float32 file, which is checked first, and need not be equal to it: what it costs is
    measured, and its thresholds are fitted anew.

    Args:
        network: of the run.
        path: a new file that ends in ``.onnx``.
        options: what of it.

    Raises:
        InputError: the file is there already or has another suffix, the part is not there, torch makes no ONNX graph of
            the network, the graph's answers are not the network's, or there are no validation images to calibrate by.
    """
    check_new(path)
    check_part(network, options.part)
    shown = shown_images(network, options.check)
    calibrated_on = _all_validation_images(network) if options.int8 else None
    familiar = read_familiar(folder_of(network.source))
    proto = as_onnx(whole_network(network, options.part), network.trained)
    results = _results(network, options.part)
    content, card = content_of(proto, card_of(network, options, opset_of(proto)), familiar, results)
    exported = ExportedNetwork(path, card, familiar, session_of(content, str(path), "cpu"))
    found = _checked(network, exported, shown)
    content, card = content_of(proto, card.model_copy(update={"checked": as_stored(found[0])}), familiar, results)
    made = Export(path, len(content), card, found)
    if calibrated_on is not None:
        content, made = _in_8_bits(exported, content, made, shown, calibrated_on)
    with written_whole(path) as temporary:
        temporary.write_bytes(content)
    return made


def _results(network: TrainedNetwork, part: Part) -> Results | None:
    """What of the run's ``metrics.json`` the file carries."""
    results = network.results
    if results is None:
        return None
    heads = {} if part == "all" else {"classification": None, "segmentation": None}
    return abridged(results).model_copy(update=heads)


def whole_network(network: TrainedNetwork, part: Part) -> WholeNetwork:
    """A run's network with its preprocessing, on the processor, to be traced.

    Args:
        network: of the run; it is copied.
        part: all heads, or the embedding alone.
    """
    has_looks = read_familiar(folder_of(network.source)) is not None
    return WholeNetwork(deepcopy(network.model).cpu().eval(), network.trained, part, looks=has_looks)


def _in_8_bits(
    exported: ExportedNetwork, content: bytes, made: Export, shown: Sequence[Shown], calibrated_on: Shown
) -> tuple[bytes, Export]:
    """The int8 file of a float32 one that was checked: its bytes, and what it was found to be."""
    proto = quantised(exported, content, calibrated_on)
    own = made.card.model_copy(
        update={"precision": "int8", "checked": None, "fingerprint": digest_of(proto.SerializeToString())}
    )
    smaller, own = content_of(proto, own, exported.familiar)
    network = ExportedNetwork(made.path, own, exported.familiar, session_of(smaller, str(made.path), "cpu"))
    anew = refitted(network, calibrated_on)
    smaller, own = content_of(
        proto, own.model_copy(update={"thresholds": anew.thresholds}), anew.familiar, anew.results
    )
    costs = tuple(differences(exported, network, each, _fprs(exported)) for each in shown)
    saved = gains((exported, len(content)), (network, len(smaller)))
    return smaller, Export(made.path, len(smaller), own, made.checked, costs, saved)


def _all_validation_images(network: TrainedNetwork) -> Shown:
    """Those of a run, to calibrate by and to fit thresholds on.

    Raises:
        InputError: they are not where they were.
    """
    shown = images_to_show(folder_of(network.source), "val", None, network.trained)
    if shown.kind == "generated images":
        raise InputError(
            f"8 bits are calibrated on the validation images of {network.source}, and these are not where they were: "
            "export without int8, or put them back"
        )
    return shown


def check_new(path: Path, suffix: str = SUFFIX) -> None:
    """Refuse a path that is taken, or has another suffix.

    Raises:
        InputError: with the way out.
    """
    if path.suffix.lower() != suffix:
        raise InputError(f"{path} is no name of an ONNX file: let it end in .onnx (or in .pt2, for torch)")
    if path.exists():
        raise InputError(f"{path} is there already: name a new file")


def check_part(network: TrainedNetwork, part: Part) -> None:
    """Refuse a part that a network does not have.

    Raises:
        InputError: it has no embedding head.
    """
    if part == "embedding" and not network.model.embedding_dim:
        raise InputError(f"{network.source} has no embedding head, so that part cannot be exported")


def card_of(network: TrainedNetwork, options: ExportOptions, opset: int | None) -> ExportCard:
    """What a file says of the run that it is made of.

    Args:
        network: of the run.
        options: what of it is exported.
        opset: of an ONNX graph.
    """
    folder = folder_of(network.source).resolve()
    return ExportCard(
        source=folder.name,
        fingerprint=network.fingerprint,
        part=options.part,
        triune=__version__,
        opset=opset,
        licence=options.licence,
        weights_licence=_weights_licence(folder, network.trained.model.backbone),
        card=network.trained,
        dim=network.model.embedding_dim,
        thresholds=_thresholds(folder),
        stride=network.model.stride,
        digest="",
    )


def _thresholds(folder: Path) -> StoredThresholds | None:
    path = folder / "thresholds.json"
    return read_thresholds(path) if path.is_file() else None


def _weights_licence(folder: Path, backbone: str) -> str | None:
    """The licence of the published weights that a training began with, where it did and timm says one."""
    if not (folder / "config.yaml").is_file():
        return None
    settings = read_config(folder / "config.yaml").model
    if not settings.pretrained or settings.weights is not None:
        return None
    said = timm.get_pretrained_cfg(backbone, allow_unregistered=True)
    return None if said is None else said.license


def shown_images(network: TrainedNetwork, most: int) -> tuple[Shown, ...]:
    """The validation images of a run, and its test images where there are any; generated ones where there are neither.

    Args:
        network: of the run.
        most: of each split.
    """
    folder = folder_of(network.source)
    both = [images_to_show(folder, split, most, network.trained) for split in SPLITS]
    there = tuple(each for each in both if each.kind != "generated images")
    return there or (both[0],)


def _checked(network: TrainedNetwork, exported: ExportedNetwork, shown: Sequence[Shown]) -> tuple[Difference, ...]:
    """What both say of images.

    Raises:
        InputError: they differ by more than rounding.
    """
    found = tuple(differences(network, exported, each, _fprs(exported)) for each in shown)
    for each in found:
        wrong = [each.embedding or 0.0, each.probability or 0.0]
        if not max(wrong) <= CLOSE or (each.masks or 0.0) > CLOSE_MASKS:
            raise InputError(
                f"the ONNX graph of {network.source} does not answer as the network does: of {each.shown} {each.kind} "
                f"embeddings differ by up to {each.embedding}, probabilities by {each.probability}, and "
                f"{each.masks or 0:.1%} of the mask pixels; nothing was written"
            )
    return found


def _fprs(exported: ExportedNetwork) -> list[float]:
    """The false-positive rates of the run's thresholds."""
    stored = exported.exported.thresholds
    return list(FPRS) if stored is None or not stored.thresholds else [each.target_fpr for each in stored.thresholds]


def as_stored(found: Difference) -> Checked:
    """What a file keeps of how it was checked."""
    return Checked(
        images=found.shown,
        kind=found.kind,
        embedding=found.embedding,
        probability=found.probability,
        masks=found.masks,
    )
