"""`triune embed`: embeddings of new images, as Parquet, or .npy with their names beside it."""

import sys
from pathlib import Path

from pydantic.dataclasses import dataclass

from triune.commands.common import command, loaded, progress, tell_left_out
from triune.ranges import PositiveInt


@dataclass(frozen=True)
class EmbedConfig:
    """What `triune embed` embeds.

    Args:
        run: a run folder, or timm:NAME for a public backbone.
        images: files, folders, patterns or tables of images.
        output: a new .parquet, or a new .npy. The names of the rows of NAME.npy are in NAME.txt, one a line. A command
            that was killed goes on when it is given again; what it has done lies in OUTPUT.parts meanwhile.
        skip: leave out images that cannot be read. They are counted and the first is named.
        batch_size: images a step.
        weights: a local file of the weights of timm:NAME. They are fetched where not given.
    """

    run: str
    images: tuple[str, ...]
    output: Path = Path("embeddings.parquet")
    skip: bool = False
    batch_size: PositiveInt = 64
    weights: Path | None = None


def run(arguments: list[str]) -> int:
    """Embeddings of new images, as Parquet, or .npy with their names beside it."""
    asked = command("embed", EmbedConfig, words=("run", "images")).parse(arguments)
    from triune.parallel.group import is_first
    from triune.serving.embedded import write_embeddings

    written = write_embeddings(
        loaded(asked.run, asked.weights),
        list(asked.images),
        asked.output,
        skip=asked.skip,
        batch_size=asked.batch_size,
        progress=progress("embedded"),
    )
    if not is_first():
        return 0
    if written.known:
        print(f"{written.known:,} images had been embedded before", file=sys.stderr)
    tell_left_out(list(written.left_out))
    print(written.path)
    return 0
