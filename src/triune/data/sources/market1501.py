"""Market-1501: pedestrians seen by six cameras, with queries and gallery."""

import re
from dataclasses import replace
from pathlib import Path

import polars as pl

from triune.data.items import ItemTable, from_frame
from triune.data.sources.common import images_in
from triune.data.sources.published import Layout, Part, without_lone
from triune.errors import InputError

_ARCHIVE = ("Market-1501-v15.09.15.zip", "Market-1501.zip")

LAYOUT = Layout(
    "market1501",
    "Market-1501 (Zheng and others, ICCV 2015)",
    {name: Part((f"{name}/",), _ARCHIVE) for name in ("bounding_box_train", "query", "bounding_box_test")},
)

NAME = re.compile(r"(-1|\d{4})_?c(\d+)s\d+_\d+_\d+")
"""How an image is called: ``0002_c1s1_000451_03.jpg`` is person 0002 by camera 1."""

JUNK, DISTRACTOR = "-1", "0000"
"""The person of boxes that are hardly a person, which are left out; and of boxes that show somebody else."""


def market1501(root: Path, cache: Path) -> ItemTable:
    """Market-1501: identity and label are the person, the column ``camera`` is ``c1`` to ``c6``.

    ``bounding_box_train`` is ``train``; ``query`` and ``bounding_box_test`` are ``test``, told apart by ``is_query``
    and ``is_gallery``. As the authors judge: junk (person −1) is left out; distractors (person 0000) have no identity
    and stand in the gallery as nobody's match.

    Args:
        root: the folder with ``bounding_box_train``, ``query`` and ``bounding_box_test``, one that holds it, or
            ``Market-1501-v15.09.15.zip``.
        cache: where an archive is unpacked.

    Raises:
        InputError: the folders are not there, or hold images of other names.
    """
    paths = LAYOUT.found(root, cache)
    rows, junk = [], 0
    for part in LAYOUT.parts:
        images = images_in(paths[part])
        if not images:
            raise InputError(f"{paths[part]} holds no images: copy or unpack Market-1501 again")
        for image in images:
            found = NAME.match(image.name)
            if found is None:
                raise InputError(f"{image} is not called as images of Market-1501 are: 0002_c1s1_000451_03.jpg, say")
            person: str | None = found[1]
            if person == JUNK:
                junk += 1
                continue
            person = None if person == DISTRACTOR and part != "bounding_box_train" else person
            split = "train" if part == "bounding_box_train" else "test"
            roles = (None, None) if split == "train" else (part == "query", part != "query")
            rows.append((str(image), person, person, split, *roles, f"c{found[2]}"))
    names = ["image", "label", "identity", "split", "is_query", "is_gallery", "camera"]
    frame = pl.DataFrame(rows, schema=names, orient="row", infer_schema_length=None)
    distractors = frame["identity"].null_count()
    table = from_frame(frame, source="market1501")
    said = f"market1501: {junk} junk images left out, {distractors} distractors in the gallery as nobody's match"
    return without_lone(replace(table, notes=(*table.notes, said)))
