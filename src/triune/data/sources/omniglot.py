"""Omniglot: handwritten characters of many alphabets, a character an identity."""

import hashlib
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import polars as pl
from PIL import Image

from triune.data.items import ItemTable, read_table
from triune.data.sources.common import download, save_png, with_holdout, written_once
from triune.data.splits import complete_splits
from triune.errors import InputError

_LARGEST_DRAWING = 1 << 20


def omniglot(root: Path, cache: Path, test_alphabet: str | None = None) -> ItemTable:
    """Omniglot's handwritten characters (Lake, Salakhutdinov, Tenenbaum, Science 2015).

    Class is the alphabet, identity the character, the mask the ink. Where the evaluation set is there, its
    alphabets are the test split; else one whole alphabet is, the last by name or the one that is named. Of
    each other alphabet a fifth of the characters is for validation.

    Args:
        root: the folder with ``images_background.zip`` and ``images_evaluation.zip``, or
            ``images_background_small1.zip``, or with what they unpack to. torchvision downloads the two where
            none of them is there.
        cache: where images and masks are written.
        test_alphabet: which alphabet is the test split.
    """
    drawings = _find_drawings(root)
    if not drawings:
        _download_omniglot(root)
        drawings = _find_drawings(root)
    mark = hashlib.sha256("\n".join(d.mark for d in drawings).encode()).hexdigest()[:12]
    folder = written_once(cache / f"omniglot-1-{mark}", lambda place: _write_drawings(place, drawings))
    table = replace(read_table(folder / "items.csv"), source="omniglot")
    alphabets = table.frame["label"].unique().sort().to_list()
    if test_alphabet is not None and test_alphabet not in alphabets:
        raise InputError(f"omniglot has no alphabet {test_alphabet!r}; it has {', '.join(alphabets)}")
    tests = table.frame.filter(pl.col("evaluation") == "true")["label"].unique().to_list()
    if test_alphabet is not None or not 0 < len(tests) < len(alphabets):
        tests = [test_alphabet or alphabets[-1]]
    split = pl.when(pl.col("label").is_in(tests)).then(pl.lit("test")).otherwise(pl.lit("train")).alias("split")
    return with_holdout(complete_splits(replace(table, frame=table.frame.with_columns(split).drop("evaluation"))))


class _Drawing(NamedTuple):
    """One drawing of a character: where it belongs, how its file is recognised, and how it is read."""

    alphabet: str
    character: str
    name: str
    evaluation: bool
    mark: str
    archive: Path | None
    member: str


def _find_drawings(root: Path) -> list[_Drawing]:
    """Every drawing below ``root``, from archives and folders, each once, sorted."""
    found: dict[tuple[str, str, str], _Drawing] = {}
    for place in (root, root / "omniglot-py"):
        for name in ("images_background", "images_evaluation", "images_background_small1", "images_background_small2"):
            archive = place / f"{name}.zip"
            drawings: Iterable[_Drawing] = ()
            if archive.is_file():
                drawings = _in_archive(archive, name == "images_evaluation")
            elif (place / name).is_dir():
                drawings = _in_folder(place / name, name == "images_evaluation")
            for drawing in drawings:
                found.setdefault((drawing.alphabet, drawing.character, drawing.name), drawing)
    return [found[key] for key in sorted(found)]


def _in_archive(path: Path, evaluation: bool) -> Iterator[_Drawing]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}): copy or download it again") from error
    for member in members:
        parts = PurePosixPath(member.filename).parts
        if ".." in parts or member.filename.startswith("/") or "\\" in member.filename:
            raise InputError(
                f"{path} holds a file {member.filename!r} that points outside: it is not Omniglot's archive"
            )
        if member.is_dir() or len(parts) < 3 or not member.filename.endswith(".png") or parts[0] == "__MACOSX":
            continue
        if member.file_size > _LARGEST_DRAWING:
            raise InputError(f"{path} holds {member.filename!r} of {member.file_size} bytes: no drawing is that large")
        mark = f"{member.filename} {member.CRC} {member.file_size}"
        alphabet, character, name = parts[-3:]
        yield _Drawing(alphabet, character, name, evaluation, mark, path, member.filename)


def _in_folder(folder: Path, evaluation: bool) -> Iterator[_Drawing]:
    for path in sorted(folder.glob("*/*/*.png")):
        facts = path.stat()
        mark = f"{path.relative_to(folder)} {facts.st_mtime_ns} {facts.st_size}"
        alphabet, character, name = path.parts[-3:]
        yield _Drawing(alphabet, character, name, evaluation, mark, None, str(path))


def _write_drawings(folder: Path, drawings: list[_Drawing]) -> None:
    lines: list[dict[str, str]] = []
    archives: dict[Path, zipfile.ZipFile] = {}
    try:
        for drawing in drawings:
            where = f"{drawing.archive or ''} {drawing.member}".strip()
            try:
                if drawing.archive is None:
                    content = Path(drawing.member).read_bytes()
                else:
                    if drawing.archive not in archives:
                        archives[drawing.archive] = zipfile.ZipFile(drawing.archive)
                    content = archives[drawing.archive].read(drawing.member)
                with Image.open(BytesIO(content)) as file:
                    image = np.asarray(file.convert("L"))
            except (OSError, ValueError, zipfile.BadZipFile, SyntaxError) as error:
                raise InputError(f"{where} cannot be read ({error}): copy or download it again") from error
            name = f"{drawing.alphabet}/{drawing.character}/{drawing.name}"
            save_png(image, folder / "images" / name)
            save_png((image < 128).astype(np.uint8), folder / "masks" / name)
            lines.append(
                {
                    "image": f"images/{name}",
                    "mask": f"masks/{name}",
                    "label": drawing.alphabet,
                    "identity": f"{drawing.alphabet}/{drawing.character}",
                    "evaluation": str(drawing.evaluation).lower(),
                }
            )
    finally:
        for archive in archives.values():
            archive.close()
    pl.DataFrame(lines).write_csv(folder / "items.csv")


def _download_omniglot(root: Path) -> None:
    from torchvision.datasets import Omniglot

    download(
        lambda: [Omniglot(str(root), background=kind, download=True) for kind in (True, False)],
        "omniglot",
        f"put images_background.zip and images_evaluation.zip (or images_background_small1.zip) into {root}",
    )
