"""In-Shop Clothes Retrieval of DeepFashion: pictures of garments, with queries and gallery."""

from pathlib import Path, PurePosixPath

import polars as pl

from triune.data.items import ItemTable, from_frame
from triune.data.problems import DataError, Problem
from triune.data.sources.published import Layout, Part, check_announced, listed, without_lone

LAYOUT = Layout(
    "inshop",
    "In-Shop Clothes Retrieval (Liu and others, CVPR 2016)",
    {
        "list": Part(
            ("list_eval_partition.txt", "Eval/list_eval_partition.txt", "Anno/list_eval_partition.txt"),
        ),
        "folder": Part(("img/", "Img/img/"), ("img.zip", "Img/img.zip")),
    },
)

STATUS = {"train": "train", "query": "test", "gallery": "test"}
"""The split of each evaluation status."""


def inshop(root: Path, cache: Path) -> ItemTable:
    """In-Shop Clothes Retrieval: identity is the garment (``id_00000002``), label its kind (``WOMEN/Dresses``).

    ``train`` is as the list has it; queries and gallery are ``test``, told apart by ``is_query`` and ``is_gallery``.

    Args:
        root: the folder with ``list_eval_partition.txt`` (or ``Eval/list_eval_partition.txt``) and ``img`` (or
            ``Img/img``, or ``img.zip``).
        cache: where an archive is unpacked.

    Raises:
        InputError: the files are not there, or are others.
    """
    paths = LAYOUT.found(root, cache)
    rows = []
    # Below their number and the header: image_name item_id evaluation_status.
    lines = listed(paths["list"], 3, skipped=2)
    check_announced(paths["list"], len(lines))
    for line in lines:
        name, garment, status = line.words
        if status not in STATUS:
            problem = f"the evaluation status {status!r} is none of {', '.join(STATUS)}"
            raise DataError([Problem(str(paths["list"]), line.number, None, problem, "copy the file again")])
        parts = PurePosixPath(name).parts  # img, WOMEN, Dresses, id_00000002, 02_1_front.jpg
        image = paths["folder"].joinpath(*parts[1:])
        kind = "/".join(parts[1:-2]) or None
        rows.append((str(image), kind, garment, STATUS[status], status == "query", status == "gallery"))
    names = ["image", "label", "identity", "split", "is_query", "is_gallery"]
    frame = pl.DataFrame(rows, schema=names, orient="row", infer_schema_length=None)
    return without_lone(from_frame(frame, source="inshop"))
