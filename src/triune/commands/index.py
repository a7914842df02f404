"""`triune index`: embed images into a gallery, which `triune search` asks."""

import sys
from pathlib import Path
from typing import Literal

from pydantic.dataclasses import dataclass

from triune.commands.common import command, loaded, progress, tell_left_out
from triune.ranges import PositiveInt


@dataclass(frozen=True)
class IndexConfig:
    """Which images `triune index` puts into which gallery.

    Args:
        run: a run folder, or timm:NAME.
        images: files, folders, patterns or tables of images. All columns of a table come along.
        output: the gallery. It is a new folder, a URL of object storage, or qdrant://host:port/name.
        add: go on with a gallery that is there. Images that are in it already, by their path, are passed over where
            neither their file nor their cells have changed, and updated where they have.
        label: the class of all the images.
        identity: what all the images show.
        folder_is: what the folder says that an image lies in.
        types: types of columns, such as price=float seats=int. They are text, int, float or bool; cells of a CSV are
            text else.
        weights: a local file of the weights of timm:NAME. They are fetched where not given.
        approximate: build the index for approximate search now, however few images there are. Beyond a million it is
            built anyway.
        skip: leave out images that cannot be read. They are counted and the first is named.
        thumbnails: keep a small picture of each image.
        batch_size: images a step.
    """

    run: str
    images: tuple[str, ...]
    output: str = "gallery"
    add: bool = False
    label: str | None = None
    identity: str | None = None
    folder_is: Literal["label", "identity"] | None = None
    types: tuple[str, ...] = ()
    weights: Path | None = None
    approximate: bool = False
    skip: bool = False
    thumbnails: bool = True
    batch_size: PositiveInt = 64


def run(arguments: list[str]) -> int:
    """Embed images into a gallery."""
    asked = command("index", IndexConfig, words=("run", "images")).parse(arguments)
    from triune.serving.gallery.filling import Filling, types_of
    from triune.serving.gallery.gallery import Gallery
    from triune.serving.gallery.listing import Naming
    from triune.serving.gallery.places import is_there

    naming = Naming(asked.label, asked.identity, asked.folder_is, types_of(asked.types))
    how = Filling(asked.skip, asked.batch_size, asked.thumbnails, progress("embedded"))
    run, images = loaded(asked.run, asked.weights), list(asked.images)
    if asked.add and is_there(asked.output):
        gallery = Gallery.open(asked.output, run)
        done = gallery.fill(images, None, naming, how)
    else:
        gallery, done = Gallery.filled(asked.output, run, images, naming, how)
    tell_left_out(list(done.left_out))
    print(
        f"{done.added:,} added, {done.updated:,} updated, {done.unchanged:,} unchanged; "
        f"{gallery.count:,} images, embeddings of {gallery.dim}, version {gallery.version}",
        file=sys.stderr,
    )
    recall = Gallery.open(asked.output, run, approximate=asked.approximate or None).recall
    if recall is not None:
        print(f"approximate search finds {recall:.1%} of the ten nearest, on a sample of the images", file=sys.stderr)
    elif asked.approximate:
        print("no index is built: so few images are searched exactly, or by the server's own", file=sys.stderr)
    print(asked.output)
    return 0
