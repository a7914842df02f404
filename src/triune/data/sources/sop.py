"""Stanford Online Products: photographs of products for sale, other products to be judged on than to train on."""

from pathlib import Path, PurePosixPath

import polars as pl

from triune.data.items import ItemTable, from_frame
from triune.data.sources.published import Layout, Part, listed, whole, without_lone

_ARCHIVE = ("Stanford_Online_Products.zip", "Stanford_Online_Products.tar.gz")

LAYOUT = Layout(
    "sop",
    "Stanford Online Products (Oh Song and others, CVPR 2016)",
    {"train": Part(("Ebay_train.txt",), _ARCHIVE), "test": Part(("Ebay_test.txt",), _ARCHIVE)},
)


def sop(root: Path, cache: Path) -> ItemTable:
    """Stanford Online Products: identity is the product, label its kind (bicycle, cabinet, …).

    ``Ebay_train.txt`` is ``train``, ``Ebay_test.txt`` is ``test``: 11,318 and 11,316 products.

    Args:
        root: the folder with ``Ebay_train.txt``, ``Ebay_test.txt`` and the folders of images beside them, one that
            holds it, or ``Stanford_Online_Products.zip``.
        cache: where an archive is unpacked.

    Raises:
        InputError: the files are not there, or are others.
    """
    paths = LAYOUT.found(root, cache)
    rows = []
    for split in ("train", "test"):
        path = paths[split]
        for line in listed(path, 4, skipped=1):  # image_id class_id super_class_id path
            name, product = line.words[3], str(whole(path, line, 1))
            kind = PurePosixPath(name).parts[0].removesuffix("_final")
            rows.append((str(path.parent / name), kind, product, split))
    frame = pl.DataFrame(rows, schema=["image", "label", "identity", "split"], orient="row")
    return without_lone(from_frame(frame, source="sop"))
