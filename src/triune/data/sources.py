"""Named data sets and image folders as tables: digits, omniglot, oxford-pets, lfw, or a folder by class."""

import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import polars as pl
from PIL import Image

from triune.data.decode import IGNORE, IMAGE_SUFFIXES, Array
from triune.data.table import (
    DataError,
    ItemTable,
    SplitKind,
    assign_splits,
    complete_splits,
    from_frame,
    read_table,
)
from triune.errors import InputError

Split: TypeAlias = Literal["auto", "open-set", "closed-set"]

NAMES = ("digits", "omniglot", "oxford-pets", "lfw")

NUMBER_COPIES = 20
NUMBER_SIDE = 32

_FOLDER_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
_FOLDER_SPLITS |= {"test": "test", "testing": "test", "holdout": "holdout"}
_LARGEST_DRAWING = 1 << 20


def load_source(
    data: str | Path,
    *,
    root: Path | None = None,
    split: Split = "auto",
    seed: int = 0,
    cache: Path | None = None,
) -> ItemTable:
    """The table of a data set, with every row in a split.

    Args:
        data: ``digits``, ``omniglot``, ``oxford-pets`` or ``lfw``; a .csv or .parquet table; or a folder of
            images.
        root: where the archives or downloads of a named data set lie; a folder in the cache where not given.
        split: "auto" takes the splits that the table, the folders or the data set bring, and splits open-set
            where they bring none; the other two always split anew.
        seed: of the splits.
        cache: where images and masks are written that a data set does not have as files; ``$TRIUNE_CACHE`` or
            ``~/.cache/triune`` where not given. They are written once, whole or not at all.

    Returns:
        The table. What was wrong with its rows, or kept it from being split, is in ``problems``:
        :func:`~triune.data.table.check_table` lists it with everything else. Always call it before training.

    Raises:
        InputError: there is no such data set, table or folder, or its files are not there.
    """
    kept = cache or default_cache()
    if data == "digits":
        table = digits(kept)
    elif data == "omniglot":
        table = omniglot(root or kept / "omniglot", kept)
    elif data == "oxford-pets":
        table = oxford_pets(root or kept / "oxford-pets", kept)
    elif data == "lfw":
        table = lfw(root or kept / "lfw")
    elif Path(data).is_dir():
        table = image_folder(Path(data))
    elif Path(data).suffix or Path(data).exists():
        table = read_table(data)
    else:
        raise InputError(
            f"{data} is no data set, table or folder: name one of {', '.join(NAMES)}, "
            "a .csv or .parquet file, or a folder of images"
        )
    try:
        return _with_splits(table, split, seed)
    except DataError as error:
        return replace(table, problems=(*table.problems, *error.problems))


def default_cache() -> Path:
    """``$TRIUNE_CACHE``, else ``triune`` in the user's cache folder."""
    if "TRIUNE_CACHE" in os.environ:
        return Path(os.environ["TRIUNE_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "triune"


def digits(cache: Path) -> ItemTable:
    """Two-digit numbers put together from the 1,797 real handwritten digits that come with scikit-learn.

    2,000 images of 32 x 32 pixels, 20 of each number from 00 to 99. Identity is the number, class its first digit,
    the mask the ink. Sixty numbers are trained on, twenty are for the threshold and twenty to be judged on: numbers
    never seen in training, written with digits (images) never seen in training either. Digits alone would make a
    poor open set: with ten of them, five to train on, nothing general about shapes can be learnt.
    """
    folder = _written_once(cache / "digits-4", _write_digits)
    return replace(read_table(folder / "items.csv"), source="digits", split_kind="open-set")


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
    folder = _written_once(cache / f"omniglot-1-{mark}", lambda place: _write_drawings(place, drawings))
    table = replace(read_table(folder / "items.csv"), source="omniglot")
    alphabets = table.frame["label"].unique().sort().to_list()
    if test_alphabet is not None and test_alphabet not in alphabets:
        raise InputError(f"omniglot has no alphabet {test_alphabet!r}; it has {', '.join(alphabets)}")
    tests = table.frame.filter(pl.col("evaluation") == "true")["label"].unique().to_list()
    if test_alphabet is not None or not 0 < len(tests) < len(alphabets):
        tests = [test_alphabet or alphabets[-1]]
    split = pl.when(pl.col("label").is_in(tests)).then(pl.lit("test")).otherwise(pl.lit("train")).alias("split")
    return _with_holdout(complete_splits(replace(table, frame=table.frame.with_columns(split).drop("evaluation"))))


def oxford_pets(root: Path, cache: Path) -> ItemTable:
    """The Oxford-IIIT pets (Parkhi and others, CVPR 2012): class is the species, identity the breed.

    The mask is 1 on the pet, 0 behind it and 255 (ignore) along its border, which the annotators left open.

    Args:
        root: the folder with ``oxford-iiit-pet/images`` and ``oxford-iiit-pet/annotations``; torchvision
            downloads them where they are not there.
        cache: where the masks are written.
    """
    base = root / "oxford-iiit-pet"
    if not ((base / "images").is_dir() and (base / "annotations").is_dir()):
        from torchvision.datasets import OxfordIIITPet

        _download(
            lambda: OxfordIIITPet(str(root), download=True),
            "oxford-pets",
            f"put images.tar.gz and annotations.tar.gz of the Oxford-IIIT Pet data set into {base} and unpack them, "
            f"so that {base / 'images'} and {base / 'annotations'} exist",
        )
    lines = [
        line.split()
        for part in ("trainval.txt", "test.txt")
        for line in _text(base / "annotations" / part).splitlines()
        if line.strip() and not line.startswith("#")
    ]
    names = [line[0] for line in lines]
    trimaps = base / "annotations" / "trimaps"
    mark = hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]
    masks = _written_once(cache / f"oxford-pets-1-{mark}", lambda place: _write_trimaps(place, trimaps, names))
    frame = pl.DataFrame(
        {
            "image": [str(base / "images" / f"{name}.jpg") for name in names],
            "label": [{"1": "cat", "2": "dog"}.get(line[2], line[2]) for line in lines],
            "identity": [name.rsplit("_", 1)[0] for name in names],
            "mask": [str(masks / f"{name}.png") if (masks / f"{name}.png").is_file() else None for name in names],
        }
    )
    return from_frame(frame, source="oxford-pets")


def lfw(root: Path) -> ItemTable:
    """Labeled Faces in the Wild (Huang and others, 2007): identity is the person; no classes, no masks.

    People with a single picture are left out, since they can give no matching pair.

    Args:
        root: the folder with ``lfw-py/lfw_funneled`` (or ``lfw-deepfunneled``, ``lfw``), one folder a person;
            torchvision downloads it where it is not there.
    """
    base = _lfw_folder(root)
    if base is None:
        from torchvision.datasets import LFWPeople

        _download(
            lambda: LFWPeople(str(root), split="10fold", download=True),
            "lfw",
            f"unpack lfw-funneled.tgz into {root / 'lfw-py'}, so that {root / 'lfw-py' / 'lfw_funneled'} "
            "holds one folder a person",
        )
        base = _lfw_folder(root)
    if base is None:
        raise InputError(f"{root} holds no folder of people: unpack lfw-funneled.tgz into {root / 'lfw-py'}")
    people = {folder.name: _images_in(folder) for folder in _folders_in(base)}
    several = {name: images for name, images in people.items() if len(images) > 1}
    if not several:
        raise InputError(f"{base} holds no person with two pictures: it should hold one folder a person")
    frame = pl.DataFrame(
        {
            "image": [str(image) for images in several.values() for image in images],
            "identity": [name for name, images in several.items() for _ in images],
        }
    )
    left_out = len(people) - len(several)
    note = f"lfw: {left_out} people with a single picture are left out, {len(several)} stay"
    return replace(from_frame(frame, source="lfw"), notes=(note,))


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
    top = {part.name.lower(): part for part in _folders_in(base) if part.name.lower() in _FOLDER_SPLITS}
    rows: list[dict[str, str | None]] = []
    for image in _walk(base):
        parts = list(image.relative_to(base).parts)
        if parts[0] == "masks":
            continue
        split = _FOLDER_SPLITS[parts.pop(0).lower()] if len(parts) > 1 and parts[0].lower() in top else None
        if not 2 <= len(parts) <= 3:
            raise InputError(
                f"{image} lies neither in a folder CLASS nor in CLASS/IDENTITY below {base}: move it, or use a table"
            )
        if "train" in {_FOLDER_SPLITS[name] for name in top} and split is None:
            raise InputError(f"{image} lies beside the split folders {', '.join(sorted(top))}: move it into one")
        mask = _mask_of(image.relative_to(base), (base / "masks", base.parent / "masks"))
        identity = "/".join(parts[:-1])
        rows.append({"image": str(image), "label": parts[0], "identity": identity, "mask": mask, "split": split})
    if not rows:
        raise InputError(f"{folder} holds no images: CLASS/x.jpg or train/CLASS/x.jpg is expected below it")
    schema = dict.fromkeys(("image", "label", "identity", "mask", "split"), pl.String)
    frame = pl.DataFrame(rows, schema=schema)
    return from_frame(frame, source=str(folder))


def _with_splits(table: ItemTable, split: Split, seed: int) -> ItemTable:
    if split == "auto" and table.has_split:
        return complete_splits(table, seed)
    kind: SplitKind = "closed-set" if split == "closed-set" else "open-set"
    if split == "open-set" and table.split_kind == "open-set":
        return table
    return assign_splits(table, kind, seed=seed)


def _with_holdout(table: ItemTable, share: float = 0.15) -> ItemTable:
    """Mark a data set's own splits as open-set, with part of the training images set aside for the class head."""
    splits = np.array(table.frame["split"].to_list(), dtype=object)
    names = np.array(table.frame["identity"].to_list(), dtype=object)
    generator = np.random.default_rng(0)
    for name in sorted(set(names[splits == "train"])):
        places = np.flatnonzero((names == name) & (splits == "train"))
        splits[generator.permutation(places)[: round(share * len(places))]] = "holdout"
    frame = table.frame.with_columns(pl.Series("split", splits.tolist(), pl.String))
    return replace(table, frame=frame, split_kind="open-set", notes=())


def _written_once(folder: Path, write: Callable[[Path], None]) -> Path:
    """``folder``, filled by ``write`` if it is not there yet; whole or not at all, whoever else writes it, too."""
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise InputError(f"{folder.parent} cannot be written ({error}): set TRIUNE_CACHE to one that can") from error
    try:
        write(temporary)
        temporary.chmod(0o755)
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _write_digits(folder: Path) -> None:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    generator = np.random.default_rng(0)
    # Which handwritten digits each split may use: no split sees another's.
    share = np.array(["train", "train", "train", "val", "test"])[np.arange(len(bunch.target)) % 5]
    lines = ["image,mask,label,identity,split"]
    for number in range(100):
        tens, units = divmod(number, 10)
        # Six numbers of every decade, and six with every second digit, are trained on; two are for each other split.
        split = ("train", "train", "train", "val", "test")[(units + 3 * tens) % 10 // 2]
        for copy in range(NUMBER_COPIES):
            pair = [
                bunch.images[generator.choice(np.flatnonzero((bunch.target == digit) & (share == split)))]
                for digit in (tens, units)
            ]
            image, ink = _as_photograph(pair, generator)
            name = f"{number:02d}/{copy:02d}.png"
            _save(image, folder / "images" / name)
            _save(ink, folder / "masks" / name)
            lines.append(f"images/{name},masks/{name},{tens},{number:02d},{split}")
    (folder / "items.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _as_photograph(pair: list[Array], generator: np.random.Generator) -> tuple[Array, Array]:
    """Two 8 x 8 digits of values 0 to 16 as a photographed number: 32 x 32 bytes, and where its ink is.

    Enlarged about twofold, side by side, shifted and turned a little, on paper that is lit from one side.
    """
    canvas = Image.new("F", (NUMBER_SIDE, NUMBER_SIDE))
    side = int(generator.integers(13, 16))
    left = int(generator.integers(0, NUMBER_SIDE - 2 * side + 1))
    top = int(generator.integers(3, NUMBER_SIDE - side - 3 + 1))
    for place, pixels in enumerate(pair):
        digit = Image.fromarray(np.asarray(pixels, dtype=np.float32) / 16)
        canvas.paste(digit.resize((side, side), Image.Resampling.BICUBIC), (left + place * side, top))
    ink = np.asarray(canvas.rotate(float(generator.uniform(-10, 10)), Image.Resampling.BICUBIC)).clip(0, 1)
    slope_y, slope_x = generator.uniform(-0.25, 0.25, 2)
    ramp = np.linspace(-0.5, 0.5, NUMBER_SIDE)
    paper = generator.uniform(0.6, 0.9) + slope_y * ramp[:, None] + slope_x * ramp[None, :]
    image = paper - ink * generator.uniform(0.4, 0.55) + generator.normal(0, 0.03, ink.shape)
    return np.rint(image.clip(0, 1) * 255).astype(np.uint8), (ink > 0.4).astype(np.uint8)


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
            _save(image, folder / "images" / name)
            _save((image < 128).astype(np.uint8), folder / "masks" / name)
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

    _download(
        lambda: [Omniglot(str(root), background=kind, download=True) for kind in (True, False)],
        "omniglot",
        f"put images_background.zip and images_evaluation.zip (or images_background_small1.zip) into {root}",
    )


def _write_trimaps(folder: Path, trimaps: Path, names: list[str]) -> None:
    """Trimaps (1 pet, 2 background, 3 border) as masks (1, 0, 255); damaged ones are copied for the check to find."""
    ids = np.full(256, IGNORE, dtype=np.uint8)
    ids[1], ids[2] = 1, 0
    for name in names:
        path = trimaps / f"{name}.png"
        if not path.is_file():
            continue
        try:
            with Image.open(path) as file:
                mask = ids[np.asarray(file)]
        except (OSError, SyntaxError, ValueError):
            shutil.copyfile(path, folder / f"{name}.png")
            continue
        _save(mask, folder / f"{name}.png")


def _download(fetch: Callable[[], object], name: str, otherwise: str) -> None:
    try:
        fetch()
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{name} is not there and could not be downloaded ({reason}): {otherwise}") from error


def _lfw_folder(root: Path) -> Path | None:
    for place in (root / "lfw-py", root):
        for name in ("lfw_funneled", "lfw-deepfunneled", "lfw"):
            if (place / name).is_dir():
                return place / name
    return None


def _save(pixels: Array, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=1)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}): unpack the data set again") from error


def _folders_in(folder: Path) -> list[Path]:
    return sorted(part for part in folder.iterdir() if part.is_dir() and not part.name.startswith("."))


def _images_in(folder: Path) -> list[Path]:
    return sorted(
        part for part in folder.iterdir() if part.suffix.lower() in IMAGE_SUFFIXES and not part.name.startswith(".")
    )


def _walk(folder: Path) -> Iterator[Path]:
    """Every image below a folder, sorted by path, linked folders included, hidden ones not."""
    yield from _images_in(folder)
    for part in _folders_in(folder):
        yield from _walk(part)


def _mask_of(relative: Path, folders: tuple[Path, ...]) -> str | None:
    """The mask of an image: the file of the same name, whatever its suffix, in the first folder that has one."""
    for folder in folders:
        for suffix in (".png", relative.suffix, ".bmp", ".gif", ".tif", ".tiff", ".webp"):
            path = (folder / relative).with_suffix(suffix)
            if path.is_file():
                return str(path)
    return None
