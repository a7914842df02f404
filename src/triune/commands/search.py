"""`triune search`: the images of a gallery that are most alike, for one image or many."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from triune.commands.common import command, loaded, print_json, progress, require_new, tell_left_out
from triune.ranges import PositiveInt, Share

if TYPE_CHECKING:
    from triune.serving.gallery.gallery import Gallery


@dataclass(frozen=True)
class SearchConfig:
    """What `triune search` looks for, and where.

    Args:
        gallery: a folder or URL that `triune index` wrote.
        images: files, folders, patterns or tables of images to look for. With --like there are none.
        k: how many hits an image has. -k is short for it.
        where: a condition that hits meet, such as "label = 'cup' and price < 20".
        like: images that are liked. One list of hits is looked for that are like all of them together.
        unlike: images that are disliked.
        seen: a list of images that are not to be found again. It is a table with a column image, or one path a line.
        diversity: how much hits differ, from 0 to 1. At 1 only the first is chosen by its likeness.
        approximate: look into the nearest cells only, which pays for many queries. A gallery of more than a million
            images is searched so anyway.
        exact: look at every row, however many there are.
        exclude_self: an image that is in the gallery, by its path, is not found for itself.
        skip: leave out images that cannot be read. They are counted and the first is named.
        run: the run that made the gallery, where it lies elsewhere now.
        weights: a local file of the weights of that run, where it is timm:NAME.
        json: print JSON.
        csv: also write the hits as a CSV.
        html: also write the hits as a page of images.
    """

    gallery: str
    images: tuple[str, ...] = ()
    k: PositiveInt = 10
    where: str | None = None
    like: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    seen: Path | None = None
    diversity: Share = 0.0
    approximate: bool = False
    exact: bool = False
    exclude_self: bool = False
    skip: bool = False
    run: str | None = None
    weights: Path | None = None
    json: bool = False
    csv: Path | None = None
    html: Path | None = None


def run(arguments: list[str]) -> int:
    """Print the images of a gallery that are most alike."""
    spelt = ["--k" + each[2:] if each == "-k" or each.startswith("-k=") else each for each in arguments]
    asked = command("search", SearchConfig, words=("gallery", "images")).parse(spelt)
    from triune.errors import InputError
    from triune.plurals import plural
    from triune.serving.gallery.gallery import Gallery
    from triune.serving.gallery.sheet import taste_row, write_found
    from triune.serving.gallery.written import as_text, write_hits

    if asked.approximate and asked.exact:
        raise InputError("--approximate and --exact are both given: leave one away")
    if asked.unlike and not asked.like:
        raise InputError("--unlike needs --like: name at least one image that is liked")
    require_new(asked.csv, asked.html)
    run = None if asked.run is None else loaded(asked.run, asked.weights)
    how = True if asked.approximate else False if asked.exact else None
    gallery = Gallery.open(asked.gallery, run, approximate=how)
    left_out: list[str] = []
    found = gallery.search(
        list(asked.images) or None,
        asked.k,
        where=asked.where,
        exclude=None if asked.seen is None else _seen(asked.seen, gallery),
        exclude_self=asked.exclude_self,
        like=list(asked.like) or None,
        unlike=list(asked.unlike) or None,
        diversity=asked.diversity,
        left_out=left_out if asked.skip else None,
        progress=progress("embedded"),
    )
    tell_left_out(left_out)
    if asked.csv is not None:
        write_hits(asked.csv, found)
        print(f"written {asked.csv}", file=sys.stderr)
    if asked.html is not None:
        above = [taste_row(asked.like, asked.unlike, gallery)] if asked.like else []
        page = write_found(asked.html, "Most alike", found, gallery, [f"in {gallery.name}"], above)
        print(f"written {page}", file=sys.stderr)
    if asked.json:
        print_json([each.to_dict() for each in found])
    else:
        print(as_text(found))
    fewest = min(len(each.hits) for each in found)
    if asked.where is not None and not len(gallery.rows(asked.where)):
        print(f"no row of {asked.gallery} meets {asked.where!r}", file=sys.stderr)
    elif fewest < asked.k:
        among = "" if asked.where is None else f" that meet {asked.where!r}"
        print(f"{asked.gallery} holds {plural(fewest, 'row')} to be found{among}: all are listed", file=sys.stderr)
    return 0


def _seen(history: Path, gallery: "Gallery") -> frozenset[str]:
    """The images of a gallery that a history lists; how many they are is said on standard error."""
    from triune.serving.gallery.seen import seen_of

    seen = seen_of(history, gallery.rows()["image"])
    print(f"{history}: {len(seen.images):,} of {seen.listed:,} images are in {gallery.name}", file=sys.stderr)
    return seen.images
