"""`triune predict`: class and mask of new images, as a table and PNG files."""

from pathlib import Path

from pydantic.dataclasses import dataclass

from triune.commands.common import command, progress, tell_left_out
from triune.ranges import PositiveInt


@dataclass(frozen=True)
class PredictConfig:
    """What `triune predict` says of which images.

    Args:
        run: a run folder.
        images: files, folders, patterns or tables of images.
        output: the new folder that is written. It gets predictions.csv, and masks where the run has a mask head.
        overlays: also write the images with their masks laid over them.
        skip: leave out images that cannot be read. They are counted and the first is named.
        batch_size: images a step.
    """

    run: str
    images: tuple[str, ...]
    output: Path = Path("predictions")
    overlays: bool = False
    skip: bool = False
    batch_size: PositiveInt = 64


def run(arguments: list[str]) -> int:
    """Class and mask of new images, as a table and PNG files."""
    asked = command("predict", PredictConfig, words=("run", "images")).parse(arguments)
    from triune.serving.loaded import load
    from triune.serving.written import write_predictions

    folder, left_out = write_predictions(
        load(asked.run),
        list(asked.images),
        asked.output,
        overlays=asked.overlays,
        skip=asked.skip,
        batch_size=asked.batch_size,
        progress=progress("predicted"),
    )
    tell_left_out(left_out)
    print(folder)
    return 0
