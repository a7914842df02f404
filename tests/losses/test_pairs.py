"""What every pair loss has in common: its formula, reference sets, miners, types, bad rows, and its module."""

import math

import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses as peer
from torch.utils._python_dispatch import TorchDispatchMode

from losses.pair_cases import CASES, CLOSE, WITH_REFERENCE, assert_same, batch, tied, value_and_gradients
from oracles import listed_pairs, positives_and_negatives
from triune import losses as ours
from triune.distances.embeddings import unit
from triune.losses import average_precision
from triune.losses.average_precision import SmoothAPLoss
from triune.losses.contrastive import ContrastiveLoss
from triune.losses.margin import MarginLoss
from triune.losses.mining import TripletMiner, mine_triplets
from triune.losses.names import PAIR_LOSSES
from triune.losses.softmax import NTXentLoss


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("make", [batch, tied], ids=["random", "tied"])
def test_value_and_gradient_are_what_the_formula_says(name, make):
    literal, loss = CASES[name]
    for seed in range(6):
        x, y = make(seed)
        expected = value_and_gradients(lambda x: literal(x, x, *positives_and_negatives(y), y), x)
        assert_same(value_and_gradients(lambda x: loss(x, y), x), expected)


DEGENERATE = {"one class": [0] * 6, "singletons": list(range(6)), "two of one": [3, 3], "one item": [0], "empty": []}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("labels", DEGENERATE.values(), ids=DEGENERATE)
def test_a_batch_without_some_kind_of_pair_costs_what_the_formula_says(name, labels):
    literal, loss = CASES[name]
    x, y = torch.randn(len(labels), 4, generator=torch.Generator().manual_seed(0)).double(), torch.tensor(labels).long()
    expected = value_and_gradients(lambda x: literal(x, x, *positives_and_negatives(y), y), x)
    assert_same(value_and_gradients(lambda x: loss(x, y), x), expected)
    assert loss(x.requires_grad_(), y).requires_grad


@pytest.mark.parametrize("name", [name for name in CASES if name != "circle"])  # its weights carry no gradient
def test_gradients_are_those_of_finite_differences(name):
    x, y = batch(3, n=7, classes=3)
    assert torch.autograd.gradcheck(lambda x: CASES[name][1](unit(x), y), x.requires_grad_(), atol=1e-5)


@pytest.mark.parametrize("name", WITH_REFERENCE)
@pytest.mark.parametrize("own_rows", [None, [2, -1, 4, 0, -1, 6, 1]], ids=["strangers", "own rows"])
def test_a_reference_takes_the_place_of_the_batch(name, own_rows):
    literal, loss = CASES[name]
    x, y = batch(1, n=7, classes=3)
    r, other = batch(2, n=9, classes=4)
    own = None if own_rows is None else torch.tensor(own_rows)
    P, N = positives_and_negatives(y, other, own_rows)
    expected = value_and_gradients(lambda x, r: literal(x, r, P, N, y), x, r)
    where = {"reference_labels": other, "own_rows": own}
    assert_same(value_and_gradients(lambda x, r: loss(x, y, reference=r, **where), x, r), expected)


@pytest.mark.parametrize("name", CASES)
def test_pairs_of_a_miner_take_the_place_of_all(name):
    literal, loss = CASES[name]
    for seed in range(3):
        x, y = batch(seed)
        P, N = positives_and_negatives(y)
        keep = np.random.default_rng(seed).random((len(y), len(y))) < 0.4
        P = {a: [p for p in P[a] if keep[a, p]] for a in P}
        N = {a: [n for n in N[a] if keep[a, n]] for a in N}
        expected = value_and_gradients(lambda x: literal(x, x, P, N, y), x)
        assert_same(value_and_gradients(lambda x: loss(x, y, pairs=listed_pairs(P) + listed_pairs(N)), x), expected)


def test_triplets_of_a_miner_mean_their_two_pairs_each_once():
    x, y = batch(4)
    x = unit(x)
    a, p, n = mine_triplets(x, y, "all")
    assert len(a) > len(set(zip(a.tolist(), p.tolist())))
    for name in CASES:
        if name != "margin":  # there a pair counts as often as it is listed, as its sampling wants
            assert CASES[name][1](x, y, pairs=(a, p, n)).item() == pytest.approx(
                CASES[name][1](x, y, pairs=(a, p, a, n)).item(), rel=1e-12
            )
    anchored = torch.tensor([bool(P and N) for P, N in zip(*(each.values() for each in positives_and_negatives(y)))])
    assert anchored.all()
    assert ours.nt_xent_loss(x, y, pairs=(a, p, n)).item() == pytest.approx(ours.nt_xent_loss(x, y).item())
    once = ours.margin_loss(x, y, margin=1, pairs=(a[:1], p[:1], n[:1]))
    again = ours.margin_loss(x, y, margin=1, pairs=(a[:1], p[:1], a[:1].repeat(3), n[:1].repeat(3)))
    near, far = (x[a[0]] - x[p[0]]).norm() + 1 - 1.2, 1 + 1.2 - (x[a[0]] - x[n[0]]).norm()
    assert near > 0
    assert far > 0
    assert once.item() == pytest.approx(((near + far) / 2).item())
    assert again.item() == pytest.approx(((near + 3 * far) / 4).item())


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(name, dtype):
    x, y = batch(1)
    half = unit(x).to(dtype).requires_grad_()
    loss = CASES[name][1](half, y)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(CASES[name][1](half.double(), y).item(), abs=2e-4)
    assert half.grad.dtype == dtype
    assert torch.isfinite(half.grad).all()


@pytest.mark.parametrize("name", CASES)
def test_autocast_does_not_round_the_similarities(name):
    x, y = batch(1)
    x = unit(x).float()
    expected = CASES[name][1](x, y)
    with torch.autocast("cpu", torch.bfloat16):
        assert CASES[name][1](x, y).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_labels_are_words_or_large_numbers_and_rows_may_be_strided(name):
    x, y = batch(2)
    x, loss = unit(x), CASES[name][1]
    expected = loss(x, y)
    assert loss(x, [f"class {label}" for label in y.tolist()]).item() == pytest.approx(expected.item(), rel=1e-12)
    assert loss(x, y + 2**53) == expected  # 2**24 and 2**24 + 1 are one number in float32, these in float64
    assert loss(x.T.contiguous().T, y).item() == pytest.approx(expected.item(), rel=1e-12)
    assert loss(x.numpy(), y.numpy()).item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_embedding_that_is_not_finite_is_not_hidden_by_a_mask(name, bad):
    x, y = batch(2)
    x = unit(x)
    x[3, 1] = bad
    assert CASES[name][1](x, y).isnan()
    if name in WITH_REFERENCE:
        assert CASES[name][1](unit(batch(0)[0]), y, reference=x, reference_labels=y).isnan()


def test_miners_name_the_row_that_is_not_finite():
    x, y = batch(2)
    x[3, 1] = math.nan
    for mine in (ours.multi_similarity_pairs, ours.distance_weighted_triplets):
        with pytest.raises(ValueError, match="row 3"):
            mine(x, y)
        with pytest.raises(ValueError, match=r"reference .*row 3"):
            mine(batch(0)[0], y, reference=x, reference_labels=y)


def test_large_exponents_do_not_overflow():
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]]).requires_grad_()
    y = [0, 1, 0, 1]
    # Each anchor's positive is at similarity −1, and one negative at 1; of a sum of exponentials the largest is left.
    expected = {
        ours.nt_xent_loss(x, y, temperature=1e-3): 2e3,
        ours.sup_con_loss(x, y, temperature=1e-3): 2e3,
        ours.circle_loss(x, y, gamma=1e4): 1e4 * (2.4 * 1.6 + 1.4 * 0.6),
        ours.multi_similarity_loss(x, y, alpha=1e4, beta=1e4): 1.5 + 0.5,
        ours.n_pairs_loss(100 * x[[0, 2, 3, 1]], y): 2e4,
        ours.lifted_structure_loss(1e4 * x, y): 2e4 + 1,
        ours.smooth_ap_loss(x, y, temperature=1e-6): 1 - 1 / 2.5,
    }
    for loss, value in expected.items():
        assert loss.item() == pytest.approx(value, rel=1e-3)
    sum(expected).backward()
    assert torch.isfinite(x.grad).all()


class Largest(TorchDispatchMode):
    """How many cells the largest tensor has that is made in here, in the backward pass too."""

    cells = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self.cells = max(self.cells, storage.nbytes() // tensor.element_size())
        return out


@pytest.mark.parametrize("name", [*CASES, "drawn margin"])
def test_no_tensor_is_larger_than_the_matrix_of_pairs(name, monkeypatch):
    monkeypatch.setattr(average_precision, "CPU_BLOCK_CELLS", 1)
    loss = ours.margin_loss if name == "drawn margin" else CASES[name][1]
    x, y = batch(0, n=64, classes=2)
    x.requires_grad_()
    with Largest() as largest:
        loss(unit(x), y).backward()
    assert largest.cells <= 64 * 64


PEERS = {
    "contrastive": (peer.ContrastiveLoss(0.1, 0.9), CASES["contrastive"][1]),
    "lifted structure": (
        peer.GeneralizedLiftedStructureLoss(neg_margin=0.9, pos_margin=0.1),
        CASES["lifted structure"][1],
    ),
    "n-pairs": (peer.NPairsLoss(), ours.n_pairs_loss),
    "multi-similarity": (peer.MultiSimilarityLoss(2, 30, 0.4), CASES["multi-similarity"][1]),
    "nt-xent": (peer.NTXentLoss(0.2), CASES["nt-xent"][1]),
    "sup-con": (peer.SupConLoss(0.2), CASES["sup-con"][1]),
    "circle": (peer.CircleLoss(0.4, 8), CASES["circle"][1]),
    "fast-ap": (peer.FastAPLoss(10), ours.fast_ap_loss),
}


@pytest.mark.parametrize("name", PEERS)
def test_value_and_gradient_equal_the_peer(name):
    theirs, loss = PEERS[name]
    for seed in range(4):
        x, y = batch(seed)
        if name == "lifted structure":  # the peer takes an absent logarithm for 0; ours leaves such an anchor out
            y = torch.arange(14) % 4
        result = value_and_gradients(lambda x: loss(x, y), x)
        assert_same(result, value_and_gradients(lambda x: theirs(x, y), x), **CLOSE)


@pytest.mark.parametrize("name", [name for name in PEERS if name not in ("n-pairs", "fast-ap")])
def test_a_reference_equals_the_peer(name):
    theirs, loss = PEERS[name]
    (x, y), (r, other) = batch(1), batch(2, n=20)
    expected = value_and_gradients(lambda x, r: theirs(x, y, ref_emb=r, ref_labels=other), x, r)
    result = value_and_gradients(lambda x, r: loss(x, y, reference=r, reference_labels=other), x, r)
    assert_same(result, expected, **CLOSE)


def test_shapes_that_disagree_are_named():
    x, y = batch()
    a = torch.tensor([0])
    with pytest.raises(ValueError, match="14 rows"):
        ours.circle_loss(x, y[:3])
    with pytest.raises(ValueError, match="hold 2 tensors"):
        ours.nt_xent_loss(x, y, pairs=(a, a))
    with pytest.raises(ValueError, match="equal in twos"):
        ours.nt_xent_loss(x, y, pairs=(a, a, a, a.repeat(2)))
    with pytest.raises(ValueError, match="without reference_labels"):
        ours.nt_xent_loss(x, y, reference=x)


def module_batch():
    g = torch.Generator().manual_seed(0)
    return 3 * torch.randn(16, 6, generator=g), torch.arange(16) // 2


@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_every_loss_draws_the_items_of_a_class_together(name):
    torch.manual_seed(0)
    x, y = module_batch()
    raw = x.clone().requires_grad_()
    criterion = PAIR_LOSSES[name]()
    optimizer = torch.optim.Adam([raw, *criterion.parameters()], lr=0.05)
    first = criterion(raw, y).item()
    for _ in range(60):
        optimizer.zero_grad()
        criterion(raw, y).backward()
        optimizer.step()
    assert criterion(raw, y).item() < first
    similar = unit(raw.detach()) @ unit(raw.detach()).T
    same = (y[:, None] == y[None, :]) & ~torch.eye(16, dtype=bool)
    start = unit(x) @ unit(x).T
    different = y[:, None] != y[None, :]
    assert similar[same].mean() - similar[different].mean() > start[same].mean() - start[different].mean() + 0.2


@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_the_repr_tells_the_settings(name):
    assert "normalize=" in repr(PAIR_LOSSES[name]())


def test_embeddings_are_divided_by_their_length_unless_told_otherwise():
    x, y = module_batch()
    assert NTXentLoss()(x, y) == ours.nt_xent_loss(unit(x), y)
    assert NTXentLoss(normalize=False)(x, y) == ours.nt_xent_loss(x, y)


def test_indices_of_a_miner_choose_the_pairs():
    x, y = module_batch()
    mined = TripletMiner("hard")(x, y)
    pairs = ours.multi_similarity_pairs(unit(x), y)
    assert ContrastiveLoss()(x, y, mined) == ours.contrastive_loss(unit(x), y, pairs=mined)
    assert SmoothAPLoss()(x, y, mined) == ours.smooth_ap_loss(unit(x), y, pairs=mined)
    expected = ours.margin_loss(unit(x), y, pairs=pairs).item()
    assert MarginLoss()(x, y, pairs).item() == pytest.approx(expected, rel=1e-5)  # its β is a float32 parameter


@pytest.mark.parametrize("name", [name for name in PAIR_LOSSES if name != "n-pairs"])
def test_a_reference_set_is_normalised_too(name):
    x, y = module_batch()
    criterion = PAIR_LOSSES[name]()
    plain = PAIR_LOSSES[name](normalize=False)
    bank, codes = 7 * x.flip(0), y.flip(0)
    draws = [torch.Generator().manual_seed(0) for _ in range(2)]
    expected = plain(unit(x), y, None, unit(bank), codes, generator=draws[0])
    assert criterion(x, y, None, bank, codes, generator=draws[1]).item() == expected.item()
