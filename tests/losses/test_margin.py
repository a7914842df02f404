"""The margin loss: what is drawn, the boundary that is learnt, and the peer."""

import pytest
import torch
from pytorch_metric_learning import losses as peer

from losses.pair_cases import CLOSE, assert_same, batch, value_and_gradients
from oracles import listed_pairs, one_distance, positives_and_negatives
from triune import losses as ours
from triune.distances.embeddings import unit
from triune.distances.pairwise import pairwise_distance
from triune.losses.margin import MarginLoss, draw_negatives
from triune.losses.pairs import pair_batch


def test_distance_weighted_negatives_follow_their_weights():
    g = torch.Generator().manual_seed(0)
    x, negatives = unit(torch.randn(1, 8, generator=g).double()), unit(torch.randn(9, 8, generator=g).double())
    negatives[0] = unit(x + 0.01 * negatives[:1])  # nearer than the cutoff
    d = (x - negatives).norm(dim=1)
    farthest = d.sort().values[5:7].mean().item()  # of nine, three are not drawn
    weight = 1 / (d.clamp(min=0.5) ** 6 * (1 - d.clamp(min=0.5) ** 2 / 4) ** 2.5) * (d < farthest)
    # Every positive of the one anchor draws: 40,000 draws in one call.
    reference, labels = torch.cat([negatives, x.expand(40_000, 8)]), torch.tensor([1] * 9 + [0] * 40_000)
    drawn = ours.distance_weighted_triplets(
        x, [0], farthest=farthest, reference=reference, reference_labels=labels, generator=g
    )
    assert len(drawn.negative) == 40_000
    shares = drawn.negative.bincount(minlength=9) / 40_000
    expected = weight / weight.sum()
    assert (shares[expected == 0] == 0).all()
    # Five standard deviations of a share.
    assert ((shares - expected).abs() <= 5 * (expected * (1 - expected) / 40_000).sqrt()).all()


def test_distance_weighted_triplets_are_valid_and_repeatable():
    x, y = batch(5, n=30)
    draws = [ours.distance_weighted_triplets(unit(x), y, generator=torch.Generator().manual_seed(7)) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*draws))
    anchor, positive, negative = draws[0]
    P, _ = positives_and_negatives(y)
    assert all(torch.equal(a, b) for a, b in zip((anchor, positive), listed_pairs(P)))
    assert (y[anchor] != y[negative]).all()
    assert len(negative.unique()) > 10
    loss = ours.margin_loss(unit(x), y, generator=torch.Generator().manual_seed(7))
    assert loss == ours.margin_loss(unit(x), y, pairs=draws[0])


def test_a_far_negative_is_drawn_where_there_is_no_other_and_none_where_there_is_none():
    x = torch.tensor([[1.0, 0.0], [0.8, 0.6], [-1.0, 0.0]])
    drawn = ours.distance_weighted_triplets(x, [0, 0, 1])
    assert [column.tolist() for column in drawn] == [[0, 1], [1, 0], [2, 2]]
    for labels in ([0, 0, 0], [0, 1, 2]):
        assert len(ours.distance_weighted_triplets(x, labels).anchor) == 0
    assert len(ours.distance_weighted_triplets(x[:0], []).anchor) == 0


def test_weights_of_wide_embeddings_do_not_overflow():
    x = torch.randn(12, 4096, generator=torch.Generator().manual_seed(0))
    x[1] = x[6] + 1e-3  # a negative much nearer than the others: its weight is beyond float64
    y = torch.arange(12) // 3
    drawn = ours.distance_weighted_triplets(unit(x), y, farthest=1.9)
    assert drawn.negative[drawn.anchor == 6].tolist() == [1, 1]
    assert (y[drawn.anchor] != y[drawn.negative]).all()


def test_the_boundary_of_the_margin_loss_is_learnt():
    x, y = batch(0)
    beta = torch.tensor(1.1, dtype=torch.float64, requires_grad=True)
    drawn = ours.distance_weighted_triplets(unit(x), y)
    assert torch.autograd.gradcheck(
        lambda x, b: ours.margin_loss(unit(x), y, pairs=drawn, beta=b, nu=0.1), (x.requires_grad_(), beta)
    )
    empty = torch.zeros(0, dtype=torch.long)
    assert ours.margin_loss(x, y, pairs=(empty, empty, empty), beta=beta, nu=0.1).item() == 0
    of_anchors = beta.detach().expand(14).clone().requires_grad_()
    assert ours.margin_loss(x, y, pairs=(empty, empty, empty), beta=of_anchors, nu=0.1).item() == 0


def test_a_boundary_of_each_class_is_what_the_paper_says():
    x, y = batch(3)
    beta = torch.linspace(0.8, 1.3, 4, dtype=torch.float64, requires_grad=True)
    drawn = ours.distance_weighted_triplets(unit(x), y, generator=torch.Generator().manual_seed(1))

    def formula(x, beta):
        costs, total = [], 0.0
        for a, p, n in zip(*(column.tolist() for column in drawn)):
            mine = 2 * beta[int(y[a])]
            costs.append((0.2 + one_distance(x[a], x[p]) - mine).clamp(min=0))
            costs.append((0.2 + mine - one_distance(x[a], x[n])).clamp(min=0))
            total = total + 0.1 * mine
        return (sum(costs) + total) / sum(cost > 0 for cost in costs)

    expected = value_and_gradients(formula, x, beta)  # which scales β, too, to length 1
    for given in ({"pairs": drawn}, {"generator": torch.Generator().manual_seed(1)}):
        result = value_and_gradients(lambda x, beta: ours.margin_loss(x, y, beta=2 * beta[y], nu=0.1, **given), x, beta)
        assert_same(result, expected)
    with pytest.raises(ValueError, match=r"beta has shape \(3,\)"):
        ours.margin_loss(x, y, beta=torch.ones(3))


def test_fixed_slots_draw_as_the_compact_ones_do(monkeypatch):
    """On a GPU, and compiled, every anchor has M slots: the same pairs, with negatives drawn by the same weights."""
    x, y = batch(0, n=30)
    d, sets = pairwise_distance(unit(x), unit(x)), pair_batch(unit(x), y)
    compact = draw_negatives(d, sets, 0.5, 1.4, None)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    fixed = draw_negatives(d, sets, 0.5, 1.4, None)
    assert fixed.kept.shape == (30, 30)
    assert fixed.kept.shape[1] > compact.kept.shape[1]
    assert torch.equal(fixed.kept.sum(1), compact.kept.sum(1))
    assert torch.equal(fixed.positive[fixed.kept], compact.positive[compact.kept])
    anchors = torch.arange(30)[:, None].expand(30, 30)[fixed.kept]
    assert (y[anchors] != y[fixed.negative[fixed.kept]]).all()


def test_margin_loss_equals_the_peer_on_the_same_triplets():
    for seed in range(4):
        x, y = batch(seed)
        drawn = ours.distance_weighted_triplets(unit(x), y)
        theirs = peer.MarginLoss(margin=0.2, nu=0.1, beta=1.1, learn_beta=True)
        beta = torch.tensor(1.1, requires_grad=True)
        expected = value_and_gradients(lambda x: theirs(x, y, tuple(drawn)), x)
        result = value_and_gradients(lambda x: ours.margin_loss(x, y, pairs=drawn, beta=beta, nu=0.1), x)
        assert_same(result, expected, **CLOSE)
        theirs(unit(x), y, tuple(drawn)).backward()
        ours.margin_loss(unit(x), y, pairs=drawn, beta=beta, nu=0.1).backward()
        assert beta.grad.item() == pytest.approx(theirs.beta.grad.item(), rel=1e-5)


def test_boundaries_of_classes_equal_the_peer():
    for seed in range(4):
        x, y = batch(seed)
        drawn = ours.distance_weighted_triplets(unit(x), y)
        theirs = peer.MarginLoss(margin=0.2, nu=0.1, beta=1.1, learn_beta=True, num_classes=4)
        mine = MarginLoss(margin=0.2, nu=0.1, beta=1.1, num_classes=4)
        with torch.no_grad():
            for criterion in (theirs, mine):
                criterion.beta += torch.tensor([0.0, 0.1, -0.1, 0.2])
        expected = value_and_gradients(lambda x: theirs(x, y, tuple(drawn)), x)
        assert_same(value_and_gradients(lambda x: mine(x, y, drawn), x), expected, **CLOSE)
        theirs(x, y, tuple(drawn)).backward()
        mine(x, y, drawn).backward()
        torch.testing.assert_close(mine.beta.grad, theirs.beta.grad, rtol=1e-5, atol=1e-7)


def test_the_boundary_of_the_margin_loss_is_saved():
    criterion = MarginLoss(beta=0.7)
    other = MarginLoss()
    other.load_state_dict(criterion.state_dict())
    assert other.beta.item() == pytest.approx(0.7)
    assert not [p for p in MarginLoss(learn_beta=False).parameters() if p.requires_grad]


def test_each_class_may_have_a_boundary():
    x, y = batch(n=16)[0].float(), torch.arange(16) // 2
    criterion = MarginLoss(num_classes=8, nu=0.1)
    assert criterion.beta.shape == (8,)
    criterion(x, y).backward()
    assert torch.isfinite(criterion.beta.grad).all()
    with pytest.raises(ValueError, match="classes run from 0 to 7 but boundaries from 0 to 6"):
        MarginLoss(num_classes=7)(x, y)
    with pytest.raises(ValueError, match="labels are words"):
        criterion(x, [str(label) for label in y.tolist()])
    with pytest.raises(ValueError, match="num_classes is 0"):
        MarginLoss(num_classes=0)


def test_a_cutoff_that_is_no_distance_of_unit_vectors_is_refused():
    x, y = batch()
    with pytest.raises(ValueError, match="cutoff is 2"):
        ours.distance_weighted_triplets(x, y, cutoff=2)
    with pytest.raises(ValueError, match="cutoff is 3"):
        MarginLoss(cutoff=3)


def test_a_margin_for_each_class_is_that_of_its_anchors():
    x, y = batch(2)
    margins, P, N = [0.1, 0.2, 0.3, 0.4], *positives_and_negatives(y)
    pairs = listed_pairs(P) + listed_pairs(N)
    criterion = MarginLoss(margins, beta=1.1, num_classes=4)
    z, costs = unit(x), []
    for a, p in zip(*(column.tolist() for column in pairs[:2])):
        costs.append(max(0.0, margins[y[a]] + float((z[a] - z[p]).norm()) - 1.1))
    for a, n in zip(*(column.tolist() for column in pairs[2:])):
        costs.append(max(0.0, margins[y[a]] + 1.1 - float((z[a] - z[n]).norm())))
    active = sum(cost > 0 for cost in costs)
    assert criterion(x, y, pairs).item() == pytest.approx(sum(costs) / active, rel=1e-6)
    assert MarginLoss([0.2] * 4, num_classes=4)(x, y, pairs).item() == pytest.approx(
        MarginLoss(0.2, num_classes=4)(x, y, pairs).item(), rel=1e-6
    )
    drawn = criterion(x, y, generator=torch.Generator().manual_seed(0))
    mined = criterion(x, y, ours.DistanceWeightedMiner()(x, y, generator=torch.Generator().manual_seed(0)))
    assert drawn.item() == pytest.approx(mined.item(), rel=1e-6)


def test_margins_and_boundaries_that_do_not_fit_are_named():
    x, y = batch(0)
    with pytest.raises(ValueError, match=r"margin has shape \(3,\) and num_classes is 4"):
        MarginLoss([0.1, 0.2, 0.3], num_classes=4)
    with pytest.raises(ValueError, match=r"margin has shape \(3,\) and num_classes is None"):
        MarginLoss([0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match=r"margin has shape \(3,\); one number, or one for each of 14 anchors"):
        ours.margin_loss(x, y, margin=torch.ones(3))
