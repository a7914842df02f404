"""`triune identify`: who is on an image, of those who are enrolled in a gallery; or nobody of them."""

import sys
from pathlib import Path

from pydantic.dataclasses import dataclass

from triune.commands.common import command, loaded, print_json, progress, require_new, tell_left_out
from triune.ranges import Rate


@dataclass(frozen=True)
class IdentifyConfig:
    """Whom `triune identify` looks for, and where.

    Args:
        gallery: a folder or URL that `triune index` wrote. Its rows have an identity, several as a rule the same one.
        images: files, folders, patterns or tables of images.
        fpir: false-positive identification rate. It is the share of images of strangers that are named all the same.
        where: a condition that the enrolled rows meet, such as "team = 'red'".
        skip: leave out images that cannot be read. They are counted and the first is named.
        run: the run that made the gallery, where it lies elsewhere now.
        weights: a local file of the weights of that run, where it is timm:NAME.
        verbose: say in full what the threshold rests on. JSON holds all of it anyway.
        json: print JSON.
        html: also write the answers as a page of images.
    """

    gallery: str
    images: tuple[str, ...]
    fpir: Rate = 0.01
    where: str | None = None
    skip: bool = False
    run: str | None = None
    weights: Path | None = None
    verbose: bool = False
    json: bool = False
    html: Path | None = None


def run(arguments: list[str]) -> int:
    """Say who is on an image, of those who are enrolled; or nobody of them."""
    asked = command("identify", IdentifyConfig, words=("gallery", "images")).parse(arguments)
    from triune.serving.gallery.gallery import Gallery
    from triune.serving.gallery.identified import as_text
    from triune.serving.gallery.sheet import write_identified

    require_new(asked.html)
    gallery = Gallery.open(asked.gallery, None if asked.run is None else loaded(asked.run, asked.weights))
    left_out: list[str] = []
    skipped = left_out if asked.skip else None
    found = gallery.identify(
        list(asked.images), asked.fpir, where=asked.where, left_out=skipped, progress=progress("embedded")
    )
    tell_left_out(left_out)
    rule = found[0].rule
    terms = rule.lines() if asked.verbose else rule.short()
    if asked.html is not None:
        page = write_identified(asked.html, found, gallery, [f"in {gallery.name}", *terms])
        print(f"written {page}", file=sys.stderr)
    if asked.json:
        print_json({"rule": rule.to_dict(), "answers": [each.to_dict(with_rule=False) for each in found]})
    else:
        print(as_text(found))
    for line in terms:
        print(line, file=sys.stderr)
    return 0
