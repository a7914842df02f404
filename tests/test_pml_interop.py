"""Our pieces inside pytorch-metric-learning and its pieces inside ours, with the real package."""

import pytest
import torch

from triune.losses.mining import TripletMiner
from triune.losses.triplet import TripletLoss

pml = pytest.importorskip("pytorch_metric_learning")
from pytorch_metric_learning import losses, miners, reducers  # noqa: E402

LABELS = torch.arange(40) % 6
STRATEGIES = ("all", "hard", "batch_hard", "semihard")


def embeddings(seed=0):
    return torch.randn(40, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64, requires_grad=True)


def as_set(indices):
    return set(zip(*(column.tolist() for column in indices)))


@pytest.mark.parametrize("margin", [0.05, 0.2])
def test_all_triplets_equal_their_loss_in_value_and_gradient(margin):
    x = embeddings()
    theirs, ours = losses.TripletMarginLoss(margin=margin)(x, LABELS), TripletLoss(margin)(x, LABELS)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-9)
    torch.testing.assert_close(torch.autograd.grad(ours, x)[0], torch.autograd.grad(theirs, x)[0])


def test_the_soft_margin_equals_their_smooth_loss():
    x = embeddings()
    theirs = losses.TripletMarginLoss(margin=0.0, smooth_loss=True, reducer=reducers.MeanReducer())(x, LABELS)
    assert TripletLoss("soft")(x, LABELS).item() == pytest.approx(theirs.item(), rel=1e-9)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_our_miners_feed_their_loss(strategy):
    x = embeddings()
    indices = TripletMiner(strategy)(x, LABELS)
    theirs = losses.TripletMarginLoss(margin=0.2)(x, LABELS, indices)
    assert theirs.item() == pytest.approx(TripletLoss(0.2, mining=strategy)(x, LABELS).item(), rel=1e-9)


@pytest.mark.parametrize(
    "miner",
    [
        miners.TripletMarginMiner(margin=0.2, type_of_triplets="semihard"),
        miners.BatchHardMiner(),
        miners.BatchEasyHardMiner(),
        miners.MultiSimilarityMiner(epsilon=0.3),
        miners.PairMarginMiner(pos_margin=0.5, neg_margin=1.2),
    ],
    ids=lambda miner: type(miner).__name__,
)
def test_their_miners_feed_our_loss(miner):
    x = embeddings()
    indices = miner(x, LABELS)
    theirs = losses.TripletMarginLoss(margin=0.2)(x, LABELS, indices)
    ours = TripletLoss(0.2)(x, LABELS, indices)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-9)
    assert ours.item() > 0


def test_our_batch_hard_miner_is_theirs():
    x = embeddings()
    assert as_set(TripletMiner("batch_hard")(x, LABELS)) == as_set(miners.BatchHardMiner()(x, LABELS))


def test_every_semihard_triplet_of_theirs_is_our_gap():
    x = embeddings()
    theirs = miners.TripletMarginMiner(margin=0.2, type_of_triplets="semihard")(x, LABELS)
    assert as_set(TripletMiner("all", gap=(0.0, 0.2))(x, LABELS)) == as_set(theirs)
    hard = miners.TripletMarginMiner(margin=0.2, type_of_triplets="hard")(x, LABELS)
    assert as_set(TripletMiner("all", gap=(-torch.inf, 0.0))(x, LABELS)) == as_set(hard)


def test_a_reference_set_is_passed_as_they_pass_it():
    x, bank, bank_labels = embeddings(), embeddings(1).detach(), LABELS.flip(0)
    theirs = losses.TripletMarginLoss(margin=0.2)(x, LABELS, None, bank, bank_labels)
    assert TripletLoss(0.2)(x, LABELS, None, bank, bank_labels).item() == pytest.approx(theirs.item(), rel=1e-9)
    mined = TripletMiner("semihard")(x, LABELS, bank, bank_labels)
    inside = TripletLoss(0.2, mining="semihard")(x, LABELS, None, bank, bank_labels)
    through = losses.TripletMarginLoss(margin=0.2)(x, LABELS, mined, bank, bank_labels)
    assert through.item() == pytest.approx(inside.item(), rel=1e-9)


def test_our_loss_works_inside_their_cross_batch_memory():
    """Their memory admits losses by the class's name, so a user derives one that admits ours."""

    class Memory(losses.CrossBatchMemory):
        @staticmethod
        def supported_losses():
            return ["TripletLoss", "TripletMarginLoss"]

    memories = [
        Memory(criterion, embedding_size=8, memory_size=80)
        for criterion in (TripletLoss(0.2), losses.TripletMarginLoss(margin=0.2))
    ]
    for seed in range(4):
        ours, theirs = (memory(embeddings(seed), LABELS) for memory in memories)
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)


def test_our_miner_works_inside_their_cross_batch_memory():
    memory = losses.CrossBatchMemory(
        losses.TripletMarginLoss(margin=0.2), embedding_size=8, memory_size=80, miner=TripletMiner("hard")
    )
    for seed in range(3):
        x = embeddings(seed)
        loss = memory(x, LABELS)
        loss.backward()
        assert loss.item() > 0
        assert torch.isfinite(x.grad).all()
