"""A batch beside remembered rows: the reference set of both, and what is kept of a miner's choice."""

import pytest
import torch

from triune.losses.pair_mining import PairMarginMiner
from triune.losses.remembered import Remembered

X, Y = torch.arange(6.0).view(3, 2), torch.tensor([0, 0, 1])
OLD, OLD_LABELS = torch.arange(8.0).view(4, 2), torch.tensor([0, 1, 1, 2])


def mined(miner, own_rows=(0, 1, 2)):
    memory = Remembered(OLD, OLD_LABELS, miner)
    return memory.mined(X, Y, *memory.reference(X, Y), torch.tensor(own_rows))


def test_the_batch_stands_before_the_remembered_rows():
    rows, codes = Remembered(OLD, OLD_LABELS).reference(X, Y)
    assert rows.tolist() == X.tolist() + OLD.tolist()
    assert codes.tolist() == [0, 0, 1, 0, 1, 1, 2]


def test_without_a_miner_the_loss_chooses():
    assert mined(None) is None


@pytest.mark.parametrize(
    ("chosen", "kept"),
    [
        # Pairs: an anchor's own row goes, the non-matching pairs stay.
        (([0, 0, 1], [0, 1, 1], [0, 2], [2, 0]), ([0], [1], [0, 2], [2, 0])),
        # Triplets go whole.
        (([0, 0, 1], [0, 1, 3], [2, 2, 4]), ([0, 1], [1, 3], [2, 4])),
    ],
)
def test_an_item_is_never_its_own_positive(chosen, kept):
    found = mined(lambda *_: tuple(map(torch.tensor, chosen)))
    assert tuple(column.tolist() for column in found) == kept


def test_own_rows_may_stand_anywhere_and_our_miners_are_told():
    found = mined(PairMarginMiner(-1.0, 0.0, normalize=False), own_rows=(3, 4, 5))
    matching = set(zip(found[0].tolist(), found[1].tolist()))
    same = {(i, j) for i in range(3) for j, label in enumerate([0, 0, 1, 0, 1, 1, 2]) if Y[i] == label}
    assert matching == same - {(0, 3), (1, 4), (2, 5)}
