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


@dataclass(frozen=True)
class ExportConfig:
    """What `triune export` makes of which run.

    Args:
        run: a run folder.
        output: the new file that is written.
        part: all heads, or the embedding alone.
        licence: of the model. It is written into the file as it is said.
        check: validation and test images that the file is checked on, at most so many of each.
        json: print JSON.
    """

    run: str
    output: Path = Path("model.onnx")
    part: Literal["all", "embedding"] = "all"
    licence: str | None = None
    check: PositiveInt = 1000
    json: bool = False


def run(arguments: list[str]) -> int:
    """Write a run as one file for ONNX Runtime, and say how it compares with the run."""
    asked = command("export", ExportConfig, words=("run",)).parse(arguments)
    require_new(asked.output)
    from triune.serving.loaded import PUBLIC, load

    if asked.run.startswith(PUBLIC):
        raise InputError(f"{asked.run} was never trained here: train a run on it, and export that")
    written = load(asked.run, device="cpu").export(
        asked.output, part=asked.part, licence=asked.licence, check=asked.check
    )
    if asked.json:
        print_json(written.to_dict())
        return 0
    for each in written.checked:
        _say(each)
    print(f"{written.size / 1e6:.1f} MB, opset {written.card.opset}", file=sys.stderr)
    print(written.path)
    return 0


def _say(found: "Difference") -> None:
    parts = [
        f"{name} differ by at most {value:.1e}"
        for name, value in (("embeddings", found.embedding), ("probabilities", found.probability))
        if value is not None
    ]
    if found.masks is not None:
        parts.append(f"{found.masks:.3%} of the mask pixels differ")
    print(f"{found.shown} {found.kind}: {', '.join(parts)}", file=sys.stderr)
    for each in found.rates:
        print(f"  TPR@FPR {each.fpr:.3%}: PyTorch {each.before:.4f}, ONNX {each.after:.4f}", file=sys.stderr)
    if found.kind == "generated images":
        print("  the run's own images are not where they were, so TPR@FPR was not measured again", file=sys.stderr)
