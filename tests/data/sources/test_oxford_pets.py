"""The pets in the layout that torchvision leaves."""

import numpy as np
import polars as pl
from PIL import Image

from made_items import is_open_set, picture
from triune.data.checks import check_table
from triune.data.decode import read_mask
from triune.data.sources.named import load_source
from triune.data.sources.oxford_pets import oxford_pets


def test_oxford_pets_are_read_from_the_layout_torchvision_leaves(tmp_path):
    base = tmp_path / "oxford-iiit-pet"
    breeds = ["Abyssinian", "Bengal", "Birman", "Bombay", "beagle", "great_pyrenees", "pug", "samoyed"]
    lines = {"trainval.txt": [], "test.txt": []}
    for number, breed in enumerate(breeds):
        species = 1 if breed[0].isupper() else 2
        for picture_number in range(1, 5):
            name = f"{breed}_{picture_number}"
            picture(base / "images" / f"{name}.jpg", number * 10 + picture_number)
            trimap = np.random.default_rng(number).integers(1, 4, (8, 8)).astype(np.uint8)
            (base / "annotations" / "trimaps").mkdir(parents=True, exist_ok=True)
            Image.fromarray(trimap).save(base / "annotations" / "trimaps" / f"{name}.png")
            part = "trainval.txt" if picture_number < 3 else "test.txt"
            lines[part].append(f"{name} {number + 1} {species} 1")
    for part, text in lines.items():
        (base / "annotations" / part).write_text("\n".join(text) + "\n")

    from torchvision.datasets import OxfordIIITPet

    theirs = OxfordIIITPet(str(tmp_path), split="trainval", target_types=["binary-category", "segmentation"])
    table = oxford_pets(tmp_path, tmp_path / "cache")
    assert len(table.frame) == 32
    for index in (0, 7, 15):
        picture_path = str(theirs._images[index])
        row = table.frame.row(by_predicate=pl.col("image") == picture_path, named=True)
        species, trimap = theirs[index][1]
        assert row["label"] == ["cat", "dog"][species]
        expected = np.array([9, 1, 0, 255])[np.asarray(trimap)]
        assert (read_mask(row["mask"]) == expected).all()
    assert "great_pyrenees" in set(table.frame["identity"])
    split = load_source("oxford-pets", root=tmp_path, cache=tmp_path / "cache")
    assert is_open_set(split)
    assert split.split_kind == "open-set"
    assert check_table(split, mask_ids=2) == []
