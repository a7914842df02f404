"""A folder of images by class, with masks in a sister folder."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from triune.data.items import SPLIT_WORDS, ItemTable, from_frame
from triune.data.sources.common import folders_in, images_in
from triune.errors import InputError


def image_folder(folder: Path) -> ItemTable:
    """A folder of images as a table.

    ``CLASS/x.jpg``, or ``train/CLASS/x.jpg`` with ``val`` and ``test`` beside it. ``CLASS/IDENTITY/x.jpg``
    tells identities apart within a class; without it the class is the identity. Masks lie in a folder
    ``masks`` inside ``folder`` or beside it, under the same names (any image suffix). Where the images lie in
    ``folder/images``, name either of the two. Hidden files are passed over. Rows count the images, sorted by
    path.

    Raises:
        InputError: no images, or images that lie in no class folder.
    """
    base = folder / "images" if (folder / "images").is_dir() and (folder / "masks").is_dir() else folder
    top = {part.name.lower(): part for part in folders_in(base) if part.name.lower() in SPLIT_WORDS}
    rows: list[dict[str, str | None]] = []
    for image in _walk(base):
        parts = list(image.relative_to(base).parts)
        if parts[0] == "masks":
            continue
        split = SPLIT_WORDS[parts.pop(0).lower()] if len(parts) > 1 and parts[0].lower() in top else None
        if not 2 <= len(parts) <= 3:
            raise InputError(
                f"{image} lies neither in a folder CLASS nor in CLASS/IDENTITY below {base}: move it, or use a table"
            )
        if "train" in {SPLIT_WORDS[name] for name in top} and split is None:
            raise InputError(f"{image} lies beside the split folders {', '.join(sorted(top))}: move it into one")
        mask = _mask_of(image.relative_to(base), (base / "masks", base.parent / "masks"))
        identity = "/".join(parts[:-1])
        rows.append({"image": str(image), "label": parts[0], "identity": identity, "mask": mask, "split": split})
    if not rows:
        raise InputError(f"{folder} holds no images: CLASS/x.jpg or train/CLASS/x.jpg is expected below it")
    schema = dict.fromkeys(("image", "label", "identity", "mask", "split"), pl.String)
    frame = pl.DataFrame(rows, schema=schema)
    return from_frame(frame, source=str(folder))


def _walk(folder: Path) -> Iterator[Path]:
    """Every image below a folder, sorted by path, linked folders included, hidden ones not."""
    yield from images_in(folder)
    for part in folders_in(folder):
        yield from _walk(part)


def _mask_of(relative: Path, folders: tuple[Path, ...]) -> str | None:
    """The mask of an image: the file of the same name, whatever its suffix, in the first folder that has one."""
    for folder in folders:
        for suffix in (".png", relative.suffix, ".bmp", ".gif", ".tif", ".tiff", ".webp"):
            path = (folder / relative).with_suffix(suffix)
            if path.is_file():
                return str(path)
    return None
