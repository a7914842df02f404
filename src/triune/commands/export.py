"""`triune export`: a run as one file for ONNX Runtime, checked against the run that it is made of."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic.dataclasses import dataclass

from triune.commands.common import command, print_json, require_new
from triune.errors import InputError
from triune.ranges import PositiveInt

if TYPE_CHECKING:
    from triune.serving.exported.compared import Difference
    from triune.serving.exported.quantised import Gains


@dataclass(frozen=True)
class ExportConfig:
    """What `triune export` makes of which run.

    Args:
        run: a run folder.
        output: the new file that is written. A name that ends in .pt2 gives torch's own exported program.
        part: all heads, or the embedding alone.
        licence: of the model. It is written into the file as it is said.
        check: validation and test images that the file is checked on, at most so many of each.
        int8: give weights and activations 8 bits, calibrated on the validation images. What that costs in TPR@FPR, IoU
            and accuracy, and what it saves in time and bytes, is printed.
        json: print JSON.
    """

    run: str
    output: Path = Path("model.onnx")
    part: Literal["all", "embedding"] = "all"
    licence: str | None = None
    check: PositiveInt = 1000
    int8: bool = False
    json: bool = False


def run(arguments: list[str]) -> int:
    """Write a run as one file for ONNX Runtime, and say how it compares with the run."""
    asked = command("export", ExportConfig, words=("run",)).parse(arguments)
    require_new(asked.output)
    from triune.serving.loaded import PUBLIC, load

    if asked.run.startswith(PUBLIC):
        raise InputError(f"{asked.run} was never trained here: train a run on it, and export that")
    written = load(asked.run, device="cpu").export(
        asked.output, part=asked.part, licence=asked.licence, check=asked.check, int8=asked.int8
    )
    if asked.json:
        print_json(written.to_dict())
        return 0
    for each in written.checked:
        _say(each, ("PyTorch", "ONNX" if written.card.opset is not None else "the program"))
    for each in written.int8:
        _say(each, ("float32", "int8"))
    if written.gains is not None:
        _say_gains(written.gains)
    opset = "" if written.card.opset is None else f", opset {written.card.opset}"
    print(f"{written.size / 1e6:.1f} MB{opset}", file=sys.stderr)
    print(written.path)
    return 0


def _say(found: "Difference", names: tuple[str, str]) -> None:
    one, other = names
    parts = [
        f"{name} differ by at most {value:.1e}"
        for name, value in (("embeddings", found.embedding), ("probabilities", found.probability))
        if value is not None
    ]
    if found.masks is not None:
        parts.append(f"{found.masks:.3%} of the mask pixels differ")
    print(f"{found.shown} {found.kind}, {one} and {other}: {', '.join(parts)}", file=sys.stderr)
    figures = [(f"TPR@FPR {each.fpr:.3%}", (each.before, each.after)) for each in found.rates]
    figures += [("accuracy", found.accuracy)] if found.accuracy is not None else []
    figures += [("IoU of the masks", found.iou)] if found.iou is not None else []
    for name, (before, after) in figures:
        print(f"  {name}: {one} {before:.4f}, {other} {after:.4f}", file=sys.stderr)
    if found.kind == "generated images" and one == "PyTorch":
        print("  the run's own images are not where they were, so TPR@FPR was not measured again", file=sys.stderr)


def _say_gains(found: "Gains") -> None:
    print(f"int8 takes {found.after / 1e6:.1f} MB in place of {found.before / 1e6:.1f}", file=sys.stderr)
    for each in found.times:
        faster = each.before / each.after
        print(
            f"  {each.batch} at a time: {each.after:.1f} ms in place of {each.before:.1f}, {faster:.2f} times as fast",
            file=sys.stderr,
        )
    print("its thresholds were fitted anew on the validation images; nothing is promised of them", file=sys.stderr)
