"""Two networks on the same images: how far their answers lie apart, and what both verify."""

import numpy as np
import pytest

from run.test_folder import card
from triune.serving.exported.compared import Shown, differences, generated, images_to_show
from triune.serving.networks import Card, Read, Said


class Fixed:
    """Says of image K what stands in row K."""

    def __init__(self, embeddings=None, shares=None, masks=None):
        self.said = embeddings, shares, masks
        self.card = Card("n", "b", "cosine", 0 if embeddings is None else 2, () if shares is None else ("a", "b"),
                         masks is not None)  # fmt: skip
        self.next = 0

    def read(self, source, box=None):
        self.next += 1
        return Read(np.array(self.next - 1), (2, 2))

    def say(self, images, heads):
        rows = [int(each.pixels) for each in images]
        shares, masks = self.said[1], self.said[2]
        return [
            Said(None if shares is None else shares[k], None if masks is None else masks[k],
                 None if self.said[0] is None else self.said[0][k])
            for k in rows
        ]  # fmt: skip


def unit(angles):
    return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def test_the_largest_differences_and_the_share_of_pixels_are_told():
    images = generated((8, 8))
    count = len(images)
    shares, masks = np.full((count, 2), 0.5), np.zeros((count, 2, 2), np.uint8)
    other, changed = shares.copy(), masks.copy()
    other[3] = 0.75, 0.25
    changed[0, 0, 0] = changed[5, 1, 1] = 1
    rows = unit(np.arange(count))
    moved = rows.copy()
    moved[2, 1] += 0.125
    shown = Shown("generated images", images)
    found = differences(Fixed(rows, shares, masks), Fixed(moved, other, changed), shown, [0.5])
    assert found.embedding == pytest.approx(0.125)
    assert (found.probability, found.masks, found.rates) == (0.25, 2 / (4 * count), ())
    alone = differences(Fixed(rows, shares, masks), Fixed(moved), shown, [0.5])
    assert (alone.probability, alone.masks) == (None, None)
    assert differences(Fixed(None, shares), Fixed(None, shares), shown, [0.5]).embedding is None


def test_both_verify_the_same_pairs():
    images = generated((8, 8))[:4]
    shown = Shown("test images", images, np.array(["a", "a", "b", "b"]))
    apart, mixed = unit(np.array([0, 0.1, 2, 2.1])), unit(np.array([0, 2, 0.5, 2.5]))
    (rates,) = differences(Fixed(apart), Fixed(mixed), shown, [0.25]).rates
    # Mixed: matching pairs at 2 and 2, of the others one at 0.5, one at 0.5, then 1.5 and 2.5: half are closer.
    assert (rates.fpr, rates.before, rates.after) == (0.25, 1.0, 0.0)
    nobody_twice = Shown("test images", images, np.array(["a", "b", "c", "d"]))
    assert differences(Fixed(apart), Fixed(mixed), nobody_twice, [0.25]).rates == ()


def test_images_of_a_run_are_drawn_evenly_over_its_table(exported):
    folder, _ = exported
    shown = images_to_show(folder / "run", "val", 5, card())
    assert shown.kind == "validation images"
    assert [each.source.rpartition("/")[2] for each in shown.images] == [
        "2-0.png", "2-5.png", "3-5.png", "4-5.png", "5-5.png"
    ]  # fmt: skip
    assert shown.identities.tolist() == ["id2", "id2", "id3", "id4", "id5"]
    assert images_to_show(None, "val", 5, card()).kind == "generated images"
