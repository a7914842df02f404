"""An exported file with 8-bit weights and activations: calibrated, its thresholds fitted anew, and what that costs."""

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np

from triune._version import __version__
from triune.errors import InputError
from triune.evaluation.abridged import abridged
from triune.evaluation.measures import verification_result
from triune.evaluation.results import NAMES, DataSummary, ModelResult, Results
from triune.pairs.prepared import prepare
from triune.run.familiar import Familiar, familiar_of
from triune.run.thresholds import StoredThresholds
from triune.serving.exported.card import EMBEDDING, INPUT, LOOKS, ExportCard
from triune.serving.exported.compared import AT_ONCE, Shown
from triune.serving.exported.file import EXTRA
from triune.serving.exported.graph import in_silence
from triune.serving.exported.network import ExportedNetwork
from triune.serving.libraries import library
from triune.verification.all_pairs import verify_embeddings
from triune.verification.thresholds import fit_threshold

if TYPE_CHECKING:
    from onnx import ModelProto

Array: TypeAlias = np.ndarray[Any, Any]

CALIBRATION: Final = 128
"""Images that the ranges of activations are found from."""

TIMED: Final = (1, 32)
"""Images at a time whose time is taken."""

TURNS: Final = 7
"""How often, in turns with the other file; the median counts."""

QUANTISED: Final = (
    *("Conv", "Gemm", "MatMul", "Add", "Relu", "Clip"),
    *("MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean", "Concat", "Resize"),
)
"""The operators that compute with 8 bits: nearly all of a network's work. The rest stays as it is.

Activations are among them: a convolution whose output is cut at 0 next has its scale for what is left. Without them the
embeddings of an EfficientNet on ETH-80 had a cosine of 0.80 with the run's in place of 0.99.
"""


class Times(NamedTuple):
    """Milliseconds of a batch, without decoding.

    Args:
        batch: images.
        before: by the float32 file.
        after: by the int8 file.
    """

    batch: int
    before: float
    after: float


@dataclass(frozen=True)
class Gains:
    """What 8 bits save.

    Args:
        before: bytes of the float32 file.
        after: of the int8 file.
        times: of a batch by each.
    """

    before: int
    after: int
    times: tuple[Times, ...]


class _Calibration:
    """Gives ONNX Runtime's calibration a batch of images after another."""

    def __init__(self, batches: Iterator[Array]) -> None:
        self.batches = batches

    def get_next(self) -> dict[str, Array] | None:
        batch = next(self.batches, None)
        return None if batch is None else {INPUT: batch}


def quantised(network: ExportedNetwork, content: bytes, shown: Shown) -> "ModelProto":
    """The graph of a float32 file with 8-bit weights and activations.

    Static quantisation (Jacob et al. 2018, "Quantization and training of neural networks for efficient
    integer-arithmetic-only inference"): a scale for each channel of the weights, and for each activation one that
    covers what the images make of it.

    Args:
        network: the float32 file in use.
        content: its bytes.
        shown: the images that activations are calibrated on.

    Raises:
        InputError: ONNX Runtime cannot quantise it; the reason in a line.
    """
    onnx, quantization = library("onnx", EXTRA), library("onnxruntime.quantization", EXTRA)
    chosen = np.unique(np.linspace(0, len(shown.images) - 1, min(CALIBRATION, len(shown.images))).astype(int))
    few = Shown(shown.kind, [shown.images[k] for k in chosen])
    with tempfile.TemporaryDirectory(prefix="triune-int8-") as folder:
        before, made = Path(folder, "float32.onnx"), Path(folder, "int8.onnx")
        before.write_bytes(content)
        try:
            with in_silence():
                quantization.quantize_static(
                    before,
                    made,
                    _Calibration(_batches(network, few)),
                    quant_format=quantization.QuantFormat.QDQ,
                    per_channel=True,
                    op_types_to_quantize=list(QUANTISED),
                    activation_type=quantization.QuantType.QUInt8,
                    weight_type=quantization.QuantType.QInt8,
                    # Without VNNI instructions sums of two 8-bit products saturate; 7 bits of weights leave room.
                    reduce_range=True,
                )
        except Exception as error:  # of many kinds, one for each way in which a graph can be unlike what it expects
            reason = " ".join(str(error).split())[:300]
            raise InputError(f"ONNX Runtime cannot quantise {network.exported.source}: {reason}") from error
        proto: ModelProto = onnx.load_model_from_string(made.read_bytes())
    return proto


class Refitted(NamedTuple):
    """What an int8 file says of itself, by its own answers.

    Args:
        thresholds: fitted anew; ``None`` where there are none.
        familiar: what it knows the look of.
        results: how far apart its validation pairs lie; ``None`` where there are none.
    """

    thresholds: StoredThresholds | None
    familiar: Familiar | None
    results: Results | None = None


def refitted(network: ExportedNetwork, shown: Shown) -> Refitted:
    """The thresholds of an int8 file, and what it knows the look of, from its own answers to the validation images.

    Its embeddings lie a little elsewhere than the run's, and so do the scores at which a budget is kept. Nothing is
    promised of them to new identities.

    Args:
        network: the int8 file in use, with the thresholds of its run.
        shown: all validation images of the run.
    """
    stored, identities = network.exported.thresholds, shown.identities
    wanted = [EMBEDDING] if network.exported.dim else []
    wanted += list(LOOKS) if network.familiar is not None else []
    found = [network.run(batch, wanted) for batch in _batches(network, shown)]
    answers = {name: np.concatenate([each[name] for each in found]) for name in wanted}
    if identities is None or len(np.unique(identities)) < 2:
        return Refitted(None, None)
    familiar = familiar_of([answers[name] for name in LOOKS], identities) if network.familiar is not None else None
    if stored is None or not stored.thresholds or not network.exported.dim:
        return Refitted(stored, familiar)
    metric = stored.metric
    prepared = prepare(answers[EMBEDDING], identities, metric=metric)
    pairs = verify_embeddings(prepared)
    fitted = [
        fit_threshold(pairs, each.target_fpr, prepared=prepared, fitted_on=each.fitted_on) for each in stored.thresholds
    ]
    results = Results(
        triune=__version__,
        name=network.exported.source,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        data=DataSummary(source=""),
        metric=metric,
        models=[ModelResult(name=NAMES["model"], role="model", verification={"val": verification_result(pairs)})],
    )
    return Refitted(stored.model_copy(update={"thresholds": fitted}), familiar, abridged(results))


def gains(before: tuple[ExportedNetwork, int], after: tuple[ExportedNetwork, int]) -> Gains:
    """What 8 bits save, measured here.

    Args:
        before: the float32 file in use, and its bytes.
        after: the int8 file, likewise.
    """
    return Gains(before[1], after[1], tuple(timed(before[0], after[0], batch) for batch in TIMED))


def timed(before: ExportedNetwork, after: ExportedNetwork, batch: int) -> Times:
    """How long two files take for a batch, all heads, in turns.

    Args:
        before: the one.
        after: the other.
        batch: images.
    """
    card: ExportCard = before.exported
    images = np.random.default_rng(0).integers(0, 256, (batch, *card.card.size, card.card.channels), dtype=np.uint8)
    outputs = [each.name for each in before.session.get_outputs() if each.name not in LOOKS]
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(TURNS + 1):
        for network, times in zip((before, after), taken, strict=True):
            start = time.perf_counter()
            network.run(images, outputs)
            times.append(1000 * (time.perf_counter() - start))
    one, other = (statistics.median(each[1:]) for each in taken)  # the first call takes memory
    return Times(batch, one, other)


def _batches(network: ExportedNetwork, shown: Shown) -> Iterator[Array]:
    images: Sequence[Any] = shown.images
    for start in range(0, len(images), AT_ONCE):
        part = images[start : start + AT_ONCE]
        yield np.stack([network.read(each.source, each.box).pixels for each in part])
