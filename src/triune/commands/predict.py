"""`triune predict`: class and mask of new images, as a table and PNG files."""

from pathlib import Path

from pydantic.dataclasses import dataclass

from triune.commands.common import command, progress, tell_left_out, tell_unfamiliar
from triune.errors import InputError
from triune.ranges import PositiveInt, ShareBelowOne, Side


@dataclass(frozen=True)
class PredictConfig:
    """What `triune predict` says of which images.

    Args:
        run: a run folder.
        images: files, folders, patterns or tables of images.
        output: the new folder that is written. It gets predictions.csv, and masks where the run has a mask head.
        overlays: also write the images with their masks laid over them.
        tile: cut larger images into tiles of so many pixels a side for their masks. The network sees a tile as it saw
            its training images. Not at all where not given.
        overlap: share of its side that a tile shares with its neighbour.
        skip: leave out images that cannot be read. They are counted and the first is named.
        batch_size: images a step.
    """

    run: str
    images: tuple[str, ...]
    output: Path = Path("predictions")
    overlays: bool = False
    tile: Side | None = None
    overlap: ShareBelowOne = 0.25
    skip: bool = False
    batch_size: PositiveInt = 64


def run(arguments: list[str]) -> int:
    """Class and mask of new images, as a table and PNG files."""
    asked = command("predict", PredictConfig, words=("run", "images")).parse(arguments)
    from triune.serving.loaded import PUBLIC, load
    from triune.serving.networks import Tiles
    from triune.serving.written import write_predictions

    if asked.run.startswith(PUBLIC):
        raise InputError(f"{asked.run} says no classes and no masks: `triune embed` gives its embeddings")
    folder, left_out, unlike = write_predictions(
        load(asked.run),
        list(asked.images),
        asked.output,
        overlays=asked.overlays,
        tiles=None if asked.tile is None else Tiles(asked.tile, asked.overlap),
        skip=asked.skip,
        batch_size=asked.batch_size,
        progress=progress("predicted"),
    )
    tell_left_out(left_out)
    tell_unfamiliar(unlike, "what is said of them" if len(unlike) > 1 else "what is said of it")
    print(folder)
    return 0
