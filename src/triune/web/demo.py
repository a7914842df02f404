"""The demonstration: the run of `triune demo`, a gallery of its test images, and some to try that are not in it."""

import tempfile
from pathlib import Path
from typing import Final

import polars as pl

from triune.data.sources.named import load_source
from triune.errors import InputError
from triune.files import remove_leftovers
from triune.run.parser import read_config
from triune.run.places import MODEL
from triune.serving.gallery.gallery import Gallery
from triune.serving.loaded import load
from triune.web.served import Try

DATA: Final = "digits"

TRIED: Final = 2
"""Images of an identity that are kept to try."""

STRANGERS: Final = 2
"""Identities to try that the gallery does not hold."""


def demo_run(parent: Path = Path("runs")) -> Path | None:
    """The newest finished run of `triune demo`; ``None`` where there is none.

    Args:
        parent: where its runs lie.
    """
    found = [each for each in parent.glob(f"{DATA}-*") if (each / MODEL).is_file() and _is_of_digits(each)]
    return max(found, key=lambda each: (each / MODEL).stat().st_mtime, default=None)


def demo_items() -> pl.DataFrame:
    """The test items of the demonstration and those of a few strangers, with whether each is one ``to_try``.

    Of every class one identity of the test split has some to try; the strangers are of the validation split.
    """
    frame = load_source(DATA).frame.select("image", "label", "identity", "split")
    test = frame.filter(pl.col("split") == "test")
    shown = test.group_by("label", maintain_order=True).agg(pl.col("identity").first())["identity"].to_list()
    strangers = frame.filter(pl.col("split") == "val")["identity"].unique(maintain_order=True).to_list()[:STRANGERS]
    others = frame.filter(pl.col("identity").is_in(strangers))
    last = pl.int_range(pl.len()).reverse().over("identity") < TRIED
    return pl.concat(
        [
            test.with_columns((last & pl.col("identity").is_in(shown)).alias("to_try")),
            others.filter(last).with_columns(pl.lit(True).alias("to_try")),
        ]
    )


def demo_samples(items: pl.DataFrame) -> list[Try]:
    """The images to try.

    Args:
        items: from :func:`demo_items`.
    """
    tried = items.filter("to_try").select("image", "label", "identity")
    return [Try(*each) for each in tried.iter_rows()]


def demo_gallery(run: Path, items: pl.DataFrame) -> Path:
    """A gallery of the test images beside a run: the one that is there, or a new one.

    Args:
        run: embeds them.
        items: from :func:`demo_items`.

    Raises:
        InputError: something else is there.
    """
    place = run.parent / f"{run.name}-gallery"
    if place.exists():
        return place
    remove_leftovers(run.parent, place.name)
    temporary = Path(tempfile.mkdtemp(dir=run.parent, prefix=f".{place.name}."))
    table = temporary.with_name(f"{temporary.name}.csv")
    try:
        items.filter(~pl.col("to_try")).select("image", "label", "identity").write_csv(table)
        Gallery.create(temporary, load(run), table)
        temporary.chmod(0o755)
        temporary.rename(place)  # it is there whole or not at all
    finally:
        table.unlink(missing_ok=True)
    return place


def _is_of_digits(run: Path) -> bool:
    try:
        return read_config(run / "config.yaml").data == DATA
    except InputError:
        return False
