"""A folder of images by class, with masks in a sister folder."""

import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl

from triune.data.items import SPLIT_WORDS, ItemTable, from_frame
from triune.data.sources.common import folders_in, images_in, others_in
from triune.errors import InputError


def image_folder(folder: Path) -> ItemTable:
    """A folder of images as a table.

    ``CLASS/x.jpg``, or ``train/CLASS/x.jpg`` with ``val`` and ``test`` beside it. ``CLASS/IDENTITY/x.jpg``
    tells identities apart within a class; without it the class is the identity. Masks lie in a folder
    ``masks`` inside ``folder`` or beside it, under the same names (any image suffix). Where the images lie in
    ``folder/images``, name either of the two. Hidden files are passed over. Rows count the images, sorted by
    path. Other files are left out, and a note says how many; so does one of masks that belong to no image.

    Raises:
        InputError: no images, or images that lie in no class folder.
    """
    base = folder / "images" if (folder / "images").is_dir() and (folder / "masks").is_dir() else folder
    top = {part.name.lower(): part for part in folders_in(base) if part.name.lower() in SPLIT_WORDS}
    masks = _Masks((base / "masks", base.parent / "masks"))
    rows: list[dict[str, str | None]] = []
    for image in walk(base):
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
        mask = masks.of(image.relative_to(base))
        identity = "/".join(parts[:-1])
        rows.append({"image": str(image), "label": parts[0], "identity": identity, "mask": mask, "split": split})
    if not rows:
        raise InputError(f"{folder} holds no images: CLASS/x.jpg or train/CLASS/x.jpg is expected below it")
    schema = dict.fromkeys(("image", "label", "identity", "mask", "split"), pl.String)
    frame = pl.DataFrame(rows, schema=schema)
    table = from_frame(frame, source=str(folder))
    return replace(table, notes=(*table.notes, *_left_out(base, folder), *masks.unused(folder)))


def walk(folder: Path) -> Iterator[Path]:
    """Every image below a folder, sorted by path, linked folders included, hidden ones not."""
    yield from images_in(folder)
    for part in folders_in(folder):
        yield from walk(part)


def _left_out(base: Path, folder: Path) -> list[str]:
    """How many files below a folder are no images, by their suffixes, and the first of them."""

    def below(place: Path) -> Iterator[Path]:
        yield from others_in(place)
        for part in folders_in(place):
            if part != base / "masks":
                yield from below(part)

    others = list(below(base))
    if not others:
        return []
    counts = Counter(path.suffix.lower() or "no suffix" for path in others)
    kinds = ", ".join(f"{suffix}: {count}" for suffix, count in counts.most_common(5))
    named = f"files left out, for their suffix is none of an image, {len(others)} ({kinds})"
    return [f"{folder}: {named}; the first is {min(others).relative_to(base)}"]


class _Masks:
    """The masks in the first of some folders that has one, found by the name of an image, whatever their suffix."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self.folders = folders
        self.known: dict[Path, dict[str, list[Path]]] = {}
        self.used: set[Path] = set()

    def of(self, relative: Path) -> str | None:
        """The mask of an image: the PNG of its name, else the file of its own suffix, else any."""
        for folder in self.folders:
            found = self._in(folder / relative.parent).get(_stem(relative), [])
            if found:
                wanted = (".png", relative.suffix.lower())
                places = {suffix: place for place, suffix in enumerate(wanted)}
                best = min(found, key=lambda path: (places.get(path.suffix.lower(), len(wanted)), path))
                self.used.update(found)
                return str(best)
        return None

    def unused(self, folder: Path) -> list[str]:
        """A sentence on masks that belong to no image, if there are any in the folders that are in use."""
        count = 0
        for masks in self.folders:
            if any(masks in path.parents for path in self.used):
                count += sum(path not in self.used for path in walk(masks))
        return [f"{folder}: {count} masks are left out, for no image has their name"] if count else []

    def _in(self, folder: Path) -> dict[str, list[Path]]:
        if folder not in self.known:
            self.known[folder] = {}
            if folder.is_dir():
                for path in images_in(folder):
                    self.known[folder].setdefault(_stem(path), []).append(path)
        return self.known[folder]


def _stem(path: Path) -> str:
    """The name of a file without its suffix, in the composed form."""
    return unicodedata.normalize("NFC", path.stem)
