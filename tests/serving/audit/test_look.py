"""An audit: planted mistakes are found in made items, and in real ones where they are there."""

import csv

import numpy as np
import pytest
from PIL import Image

from conftest import shared_data
from serving.audit.planted import pixels, write_mistakes
from triune.data.boxes import Box
from triune.errors import InputError
from triune.serving.audit.look import audit
from triune.serving.audit.sources import AuditItems, items_of_files


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mistakes")
    rows, mistaken, copied = write_mistakes(folder)
    np.save(folder / "e.npy", pixels(folder, rows))
    return folder, rows, mistaken, copied


def pairs(found):
    return {(pair.first.row, pair.second.row) for pair in found.duplicates}


def test_planted_mistakes_are_found_and_nothing_else(made):
    folder, rows, mistaken, copied = made
    found = audit(items_of_files(folder / "e.npy", images=folder / "items.csv", column="label"))
    named = {each.item.row for each in found.wrong_labels}
    assert named <= mistaken
    assert len(named) >= len(mistaken) - 1
    assert all(each.item.label == rows[each.item.row]["label"] != each.other for each in found.wrong_labels)
    assert pairs(found) == {(first, second) for second, first in copied.items()}
    assert [pair.same for pair in found.duplicates].count("same file") == 2
    assert all(pair.across_splits and not pair.labels_differ for pair in found.duplicates)
    assert found.outliers == ()
    assert (found.items, found.labels, found.told) == (124, 8, 124)
    assert found.splits == {"train": 44, "val": 40, "test": 40}


def test_without_images_equal_embeddings_are_told(made):
    folder, rows, _, copied = made
    labels = [row["label"] for row in rows]
    found = audit(AuditItems("e", np.load(folder / "e.npy"), [str(k) for k in range(len(rows))], labels, [None] * 124))
    exact = {(first, second) for second, first in copied.items() if rows[second]["image"][-5] in "02"}
    assert exact <= pairs(found)
    assert {pair.same for pair in found.duplicates} == {"same embedding"}
    assert not any(pair.across_splits for pair in found.duplicates)


def test_copies_with_two_labels_and_an_outlier_are_told(made, tmp_path):
    folder, rows, _, _ = made
    e = np.load(folder / "e.npy")
    names = [str(folder / row["image"]) for row in rows]
    labels = [row["label"] for row in rows]
    names[5], labels[5], e[5] = names[9], "id3", e[9]
    e[60] = -10 * e[60]
    found = audit(AuditItems("e", e, names, labels, [None] * len(rows), has_images=True))
    first = found.duplicates[0]
    assert (first.first.row, first.second.row, first.same, first.labels_differ) == (5, 9, "same path", True)
    assert found.outliers[0].item.row == 60
    assert found.outliers[0].times > 1
    assert len(found.outliers[0].neighbours) == 6


def test_items_without_a_label_are_looked_at_for_all_else(made):
    folder, rows, _, copied = made
    names = [str(folder / row["image"]) for row in rows]
    items = AuditItems("e", np.load(folder / "e.npy"), names, [None] * len(rows), [None] * len(rows), has_images=True)
    found = audit(items)
    assert found.cautions == ("wrong labels were not looked for: no item has a known label",)
    assert len(found.duplicates) == len(copied)
    one = audit(AuditItems("e", np.load(folder / "e.npy"), names, ["a"] * len(rows), [None] * len(rows)))
    assert "have the same label" in one.cautions[0]


def test_what_the_figures_are_not_to_be_taken_for_is_said():
    g = np.random.default_rng(0)
    x, names = g.normal(size=(60, 8)), [str(k) for k in range(60)]
    labels = [f"c{k % 20}" for k in range(59)] + ["alone"]
    told = audit(AuditItems("noise", x, names, labels, [None] * 60, trained=True)).cautions
    assert told[0].startswith("only ")
    assert "1 items are the only one of their label" in told[1]
    assert "learned wrong ones by heart" in told[2]


def test_images_that_are_gone_are_looked_at_by_their_embeddings_and_paths(made):
    folder, rows, mistaken, _ = made
    names = [f"/gone/{row['image']}" for row in rows[:120]]
    labels = [row["label"] for row in rows[:120]]
    found = audit(AuditItems("gone", np.load(folder / "e.npy")[:120], names, labels, [None] * 120, has_images=True))
    assert {each.item.row for each in found.wrong_labels} <= mistaken
    assert found.duplicates == ()


def test_an_embedding_that_is_not_finite_is_named():
    x = np.ones((4, 3))
    x[2, 1] = np.nan
    with pytest.raises(InputError, match=r"e\.npy: embeddings holds NaN or infinity in 1 of 4 rows \(row 2\)"):
        audit(AuditItems("e.npy", x, list("abcd"), list("aabb"), [None] * 4))


def test_an_embedding_that_is_too_long_is_said():
    x = np.eye(4) * 1e30
    with pytest.raises(InputError, match=r"e\.npy: embeddings holds a row whose squared length overflows float32"):
        audit(AuditItems("e.npy", x, list("abcd"), list("aabb"), [None] * 4, metric="euclidean"))


def test_equal_embeddings_name_nothing_and_say_so():
    found = audit(AuditItems("same", np.zeros((80, 4)), list(map(str, range(80))), list("ab") * 40, [None] * 80))
    assert found.wrong_labels == ()
    assert found.cautions[0].startswith("wrong labels were not looked for: each item is exactly as close to")


def test_items_that_are_tied_are_counted():
    g = np.random.default_rng(0)
    x = np.vstack([np.zeros((40, 4)), np.repeat(np.eye(4)[:2], 20, axis=0) + g.normal(0, 0.01, (40, 4))])
    labels = list("ab") * 20 + ["a"] * 20 + ["b"] * 20
    found = audit(AuditItems("some", x, list(map(str, range(80))), labels, [None] * 80))
    assert found.wrong_labels == ()
    assert found.cautions[0].startswith("40 of 80 items are exactly as close to another label as to their own")


def test_one_item_is_no_set():
    with pytest.raises(InputError, match="e has 1 item: at least two are compared"):
        audit(AuditItems("e", np.ones((1, 3)), ["a"], ["a"], [None]))


def test_many_copies_are_one_group(tmp_path):
    g = np.random.default_rng(0)
    for k in range(30):
        Image.fromarray(g.integers(0, 256, (8, 8, 3)).astype(np.uint8)).save(tmp_path / f"{k:02d}.png")
    for k in range(1, 25):
        (tmp_path / f"{k:02d}.png").write_bytes((tmp_path / "00.png").read_bytes())
    names = [str(tmp_path / f"{k:02d}.png") for k in range(30)]
    x = np.stack([np.asarray(Image.open(name)).reshape(-1) for name in names]).astype(np.float32)
    found = audit(AuditItems("copies", x, names, [None] * 30, [None] * 30, has_images=True))
    assert {pair.second.row for pair in found.duplicates} >= set(range(1, 25))
    assert len({pair.group for pair in found.duplicates}) == 1


def test_mistakes_planted_in_eth80_are_found(tmp_path):
    folder = shared_data("eth80")
    with (folder / "items.csv").open() as file:
        rows = [{**row, "image": str(folder / row["image"])} for row in csv.DictReader(file)][::2]
    g = np.random.default_rng(0)
    count = len(rows)
    classes = sorted({row["label"] for row in rows})
    mistaken = set(g.choice(count, round(0.02 * count), replace=False).tolist())
    for row in mistaken:
        rows[row]["label"] = g.choice([name for name in classes if name != rows[row]["label"]])
    copied = set()
    for number, row in enumerate(g.choice(count, round(0.01 * count), replace=False).tolist()):
        picture = Image.open(rows[row]["image"])
        place = tmp_path / f"{number}.jpg"
        (picture if number % 2 else picture.resize((96, 96))).save(place, quality=70)
        copied.add((row, len(rows)))
        rows.append({**rows[row], "image": str(place), "split": "train" if rows[row]["split"] == "test" else "test"})
    mistaken |= {second for first, second in copied if first in mistaken}
    small = [np.asarray(Image.open(row["image"]).convert("RGB").resize((24, 24))) for row in rows]
    x = np.stack(small).reshape(len(rows), -1).astype(np.float32)
    found = audit(
        AuditItems(
            "ETH-80",
            x - x.mean(axis=1, keepdims=True),
            [row["image"] for row in rows],
            [row["label"] for row in rows],
            [row["split"] for row in rows],
            has_images=True,
        )
    )
    named = {each.item.row for each in found.wrong_labels}
    assert len(named & mistaken) >= 0.6 * len(mistaken)
    assert len(named & mistaken) >= 0.85 * len(named)
    assert len(pairs(found) & copied) >= 0.8 * len(copied)
    assert len(pairs(found) - copied) <= 2
    assert all(pair.across_splits for pair in found.duplicates if (pair.first.row, pair.second.row) in copied)


def test_two_things_on_one_picture_are_no_copies_of_each_other(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (16, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((128, 64), Image.Resampling.NEAREST).save(tmp_path / "a.png")
    boxes = [Box(0, 0, 64, 64), Box(64, 0, 128, 64), Box(0, 0, 64, 64)] + [Box(k, 0, k + 9, 9) for k in range(21)]
    x = np.random.default_rng(1).normal(size=(24, 8)).astype(np.float32)
    x[1] = x[2] = x[0]
    names = [str(tmp_path / "a.png")] * 24
    found = audit(AuditItems("boxed", x, names, [None] * 24, [None] * 24, has_images=True, boxes=boxes))
    assert {(each.first.row, each.second.row) for each in found.duplicates} == {(0, 2)}
