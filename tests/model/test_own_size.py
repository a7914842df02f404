"""Masks in an image's own size: what was filled is taken away, and what was not seen is 255."""

import numpy as np
import pytest
import torch
from PIL import Image

from triune.data.boxes import Box
from triune.data.laid_back import in_box
from triune.data.preprocessing import Preprocessing
from triune.model.network import masks_in_size
from triune.model.own_size import mask_of_image, of_resized

FITS = ("squash", "pad", "crop")


def disc(size, centre, radius):
    down, across = np.mgrid[: size[0], : size[1]]
    return (down - centre[0]) ** 2 + (across - centre[1]) ** 2 < radius**2


def logits_of(mask):
    """Logits of a network that sees exactly the mask of what it is given."""
    return torch.from_numpy(np.where(mask == 1, 4.0, -4.0)).float()[None, None]


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("own", [(120, 60), (60, 120), (97, 101), (64, 64)])
@pytest.mark.parametrize("frame", [(64, 64), (64, 96)])
def test_a_network_that_sees_the_truth_gives_the_mask_back_where_it_stands(fit, own, frame, tmp_path):
    truth = disc(own, (own[0] * 0.45, own[1] * 0.55), min(own) / 4)
    Image.fromarray(truth.astype(np.uint8)).save(tmp_path / "m.png")
    seen = Preprocessing(frame, fit)
    found = mask_of_image(logits_of(seen.mask(tmp_path / "m.png")), seen, own)
    assert (found.shape, found.dtype) == (own, np.uint8)
    known = found != 255
    wrong = (found[known] == 1) != truth[known]
    assert wrong.sum() < 0.2 * truth.sum()
    down, across = np.nonzero(found == 1)
    expected = np.nonzero(truth)
    assert abs(down.mean() - expected[0].mean()) < 0.75
    assert abs(across.mean() - expected[1].mean()) < 0.75
    assert known.all() == (fit != "crop" or own[0] * frame[1] == own[1] * frame[0])


def test_squash_is_interpolated_as_it_has_always_been():
    logits = torch.randn(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    found = mask_of_image(logits, Preprocessing((16, 24)), (50, 31))
    assert np.array_equal(found, masks_in_size(logits, (50, 31))[0].numpy())


@pytest.mark.parametrize(("own", "unseen"), [((10, 30), (0, 10)), ((30, 10), (10, 0)), ((20, 24), (0, 2))])
def test_what_was_cropped_is_unknown_and_as_much_on_either_side(own, unseen):
    found = mask_of_image(torch.full((1, 1, 32, 32), 3.0), Preprocessing((32, 32), "crop"), own)
    rows, columns = ((found != 255).any(axis=1), (found != 255).any(axis=0))
    down, across = unseen
    assert rows.tolist() == [down <= k < own[0] - down for k in range(own[0])]
    assert columns.tolist() == [across <= k < own[1] - across for k in range(own[1])]
    assert set(np.unique(found)) <= {1, 255}


def test_what_was_filled_says_nothing_of_the_image():
    seen = Preprocessing((32, 32), "pad")
    placed = seen.placed((10, 40))
    logits = torch.full((1, 1, 32, 32), 5.0)
    logits[..., placed.top : placed.top + placed.resized[0], :] = -5.0
    assert not mask_of_image(logits, seen, (10, 40)).any()


@pytest.mark.parametrize("fit", FITS)
def test_the_mask_of_a_box_lies_where_the_box_does(fit, tmp_path):
    own, box = (80, 100), Box(30, 10, 90, 70)
    truth = disc(own, (40, 60), 15)
    Image.fromarray(truth.astype(np.uint8)).save(tmp_path / "m.png")
    seen = Preprocessing((60, 60), fit)
    found = mask_of_image(logits_of(seen.mask(tmp_path / "m.png", box=box)), seen, own, box)
    assert found.shape == own
    inside = np.zeros(own, bool)
    inside[10:70, 30:90] = True
    assert (found[~inside] == 255).all()
    assert np.array_equal(found[inside] == 1, truth[inside])


def test_a_mask_is_put_into_a_box():
    ids = np.arange(6, dtype=np.uint8).reshape(2, 3)
    whole = in_box(ids, (4, 5), Box(1, 2, 4, 4))
    assert whole.tolist() == [[255] * 5, [255] * 5, [255, 0, 1, 2, 255], [255, 3, 4, 5, 255]]


def test_cut_and_continued_maps_are_as_large_as_the_resized_image():
    logits = torch.arange(16.0).reshape(1, 1, 4, 4)
    cropped = of_resized(logits, Preprocessing((4, 4), "crop").placed((10, 25)))
    assert cropped[0, 0].tolist() == [[row[0]] * 3 + row + [row[3]] * 3 for row in logits[0, 0].tolist()]
    padded = of_resized(logits, Preprocessing((4, 4), "pad").placed((10, 20)))
    assert padded[0, 0].tolist() == logits[0, 0, 1:3].tolist()
