"""Cross-batch memory: what it remembers, what flows back, and that a resumed run is the same run."""

import io

import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses as peer, miners

from triune.losses.contrastive import ContrastiveLoss, NPairsLoss
from triune.losses.joined import JoinedLoss
from triune.losses.memory import CrossBatchMemory
from triune.losses.mining import TripletMiner
from triune.losses.names import PAIR_LOSSES
from triune.losses.pair_mining import BatchEasyHardMiner, PairMarginMiner
from triune.losses.proxies import ArcFaceLoss
from triune.losses.softmax import NTXentLoss, SupConLoss
from triune.losses.triplet import TripletLoss
from triune.losses.weighted import MultiSimilarityLoss


def batches(count, n=12, d=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    return [(torch.randn(n, d, generator=g), torch.randint(0, 4, (n,), generator=g)) for _ in range(count)]


@pytest.mark.parametrize("mining", ["all", "hard", "semihard", "batch_hard"])
def test_the_reference_is_the_batch_and_the_last_entries(mining):
    criterion = TripletLoss(mining=mining, margin=0.5)
    memory = CrossBatchMemory(criterion, size=20, embedding_dim=5)
    seen = []
    for x, y in batches(5):
        x.requires_grad_()
        old = seen[-20:]
        reference = torch.cat([x, *(e[None] for e, _ in old)])
        labels = torch.cat([y, torch.tensor([label for _, label in old], dtype=torch.long)])
        expected = criterion(x, y, None, reference, labels, own_rows=torch.arange(12))
        (wanted,) = torch.autograd.grad(expected, x)
        loss = memory(x, y)
        (gradient,) = torch.autograd.grad(loss, x)
        # The ring holds the same entries in another order: sums differ in rounding only.
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(gradient, wanted)
        seen += [(e.detach().clone(), int(label)) for e, label in zip(x, y, strict=True)]
    assert int(memory.filled) == 20
    remembered = {tuple(row.tolist()) for row in memory.embeddings}
    assert remembered == {tuple(e.tolist()) for e, _ in seen[-20:]}


def test_a_resumed_run_goes_on_bit_for_bit():
    data = batches(9, seed=1)
    whole = CrossBatchMemory(TripletLoss(), size=30, embedding_dim=5)
    expected = [whole(x, y).item() for x, y in data]
    first = CrossBatchMemory(TripletLoss(), size=30, embedding_dim=5)
    for x, y in data[:4]:
        first(x, y)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = CrossBatchMemory(TripletLoss(), size=30, embedding_dim=5)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert [second(x, y).item() for x, y in data[4:]] == expected[4:]
    for name, buffer in whole.state_dict().items():
        assert torch.equal(buffer, second.state_dict()[name])


def test_a_batch_larger_than_the_memory_leaves_its_last_rows():
    (x, y), *_ = batches(1, n=25)
    memory = CrossBatchMemory(TripletLoss(), size=10, embedding_dim=5)
    memory(x, y)
    assert {tuple(row.tolist()) for row in memory.embeddings} == {tuple(row.tolist()) for row in x[-10:]}
    assert int(memory.filled) == 10


def test_the_memory_is_used_from_its_start_and_not_filled_in_eval():
    data = batches(4)
    criterion = TripletLoss(margin=0.5)
    memory = CrossBatchMemory(criterion, size=40, embedding_dim=5, start=2)
    plain = [criterion(x, y).item() for x, y in data]
    with_memory = [memory(x, y).item() for x, y in data]
    assert with_memory[:2] == pytest.approx(plain[:2], rel=1e-6)
    assert with_memory[2] != pytest.approx(plain[2], rel=1e-6)
    memory.eval()
    before = memory.embeddings.clone()
    memory(*data[0])
    assert torch.equal(memory.embeddings, before)
    assert int(memory.steps) == 4


def test_half_precision_is_remembered_and_no_gradient_reaches_the_past():
    memory = CrossBatchMemory(TripletLoss(), size=40, embedding_dim=5)
    for x, y in batches(3):
        half = x.half().requires_grad_()
        memory(half, y).backward()
        assert torch.isfinite(half.grad).all()
    assert not memory.embeddings.requires_grad


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_bad_embedding_spoils_its_own_step_only(bad):
    (x, y), (clean, labels) = batches(2)
    broken = x.clone()
    broken[3, 1] = bad
    memory = CrossBatchMemory(TripletLoss(), size=40, embedding_dim=5)
    assert not torch.isfinite(memory(broken, y))
    assert int(memory.filled) == 11
    others = torch.arange(12) != 3
    without = CrossBatchMemory(TripletLoss(), size=40, embedding_dim=5)
    without(x[others], y[others])
    assert torch.equal(memory(clean, labels), without(clean, labels))


def test_what_does_not_fit_is_named():
    memory = CrossBatchMemory(TripletLoss(), size=4, embedding_dim=5)
    with pytest.raises(ValueError, match="made for 5"):
        memory(torch.randn(3, 4), [0, 0, 1])
    beyond = np.array([2**63, 2**63, 2**63 + 1], dtype=np.uint64)
    for labels in (["a", "a", "b"], np.array(["a", "a", "b"]), beyond):
        with pytest.raises(ValueError, match="words, or beyond int64: number them once"):
            memory(torch.randn(3, 5), labels)
    with pytest.raises(ValueError, match="use one kind of label"):
        memory(torch.randn(3, 5), [1, 1, "b"])
    with pytest.raises(ValueError, match="size is 0"):
        CrossBatchMemory(TripletLoss(), size=0, embedding_dim=5)


WITH_MEMORY = [name for name in PAIR_LOSSES if name != "n-pairs"]


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("name", WITH_MEMORY)
def test_every_pair_loss_takes_the_batch_and_the_last_entries_as_its_reference(name, joined):
    criterion = PAIR_LOSSES[name]().double()
    memory = CrossBatchMemory(JoinedLoss(criterion) if joined else criterion, size=20, embedding_dim=5).double()
    seen = []
    for step, (x, y) in enumerate(batches(4)):
        x = x.double().requires_grad_()
        old = seen[-20:]
        # The ring holds the same entries in another order, which draws of negatives go by.
        at = (12 * step) % 20
        if len(seen) > 20:
            old = sorted(old, key=lambda entry: entry[2] % 20)
        reference = torch.cat([x, *(e[None] for e, _, _ in old)])
        labels = torch.cat([y, torch.tensor([label for _, label, _ in old], dtype=torch.long)])
        torch.manual_seed(step)
        expected = criterion(x, y, None, reference, labels, own_rows=torch.arange(12))
        (wanted,) = torch.autograd.grad(expected, x)
        torch.manual_seed(step)
        loss = memory(x, y)
        (gradient,) = torch.autograd.grad(loss, x)
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(gradient, wanted)
        assert int(memory.position) == (at + 12) % 20
        seen += [(e.detach().clone(), int(label), 12 * step + i) for i, (e, label) in enumerate(zip(x, y))]
    assert int(memory.filled) == 20


PEERS = {
    "contrastive": (ContrastiveLoss(0.1, 0.9), peer.ContrastiveLoss(0.1, 0.9)),
    "nt-xent": (NTXentLoss(0.2), peer.NTXentLoss(0.2)),
    "sup-con": (SupConLoss(0.2), peer.SupConLoss(0.2)),
    "multi-similarity": (MultiSimilarityLoss(2, 30, 0.4, mining=False), peer.MultiSimilarityLoss(2, 30, 0.4)),
    "triplet": (TripletLoss(0.2), peer.TripletMarginLoss(0.2)),
}
MINERS = {
    "none": (None, None),
    "theirs": (miners.MultiSimilarityMiner(0.2), miners.MultiSimilarityMiner(0.2)),
    "pairs": (PairMarginMiner(0.6, 1.2), miners.PairMarginMiner(0.6, 1.2)),
    "triplets": (TripletMiner("all", gap=(-torch.inf, 0.3)), miners.TripletMarginMiner(0.3)),
}


@pytest.mark.parametrize(
    ("name", "miner"),
    # Of a list of triplets theirs counts a pair as often as it is listed in these two, ours once.
    [(n, m) for n in PEERS for m in MINERS if not (m == "triplets" and n in ("contrastive", "nt-xent"))],
)
def test_values_equal_the_peer_whose_memory_holds_the_batch_too(name, miner):
    """Theirs writes the batch into the ring and compares with that: no gradient flows to the batch as reference."""
    criterion, theirs = PEERS[name]
    ours = CrossBatchMemory(criterion, 60, 5, miner=MINERS[miner][0]).double()
    # Larger by one batch, which theirs also holds.
    other = peer.CrossBatchMemory(theirs, 5, memory_size=72, miner=MINERS[miner][1])
    for x, y in batches(8, seed=3):
        assert ours(x.double(), y).item() == pytest.approx(other(x.double(), y).item(), rel=1e-5)


@pytest.mark.parametrize("name", ["contrastive", "sup-con", "triplet"])
def test_a_miner_chooses_among_batch_and_memory(name):
    criterion = PEERS[name][0]
    for miner in (PairMarginMiner(0.5, 1.2), BatchEasyHardMiner("easy", "hard"), TripletMiner("batch_hard")):
        memory = CrossBatchMemory(criterion, size=30, embedding_dim=5, miner=miner)
        (old, old_labels), (x, y) = batches(2)
        memory(old, old_labels)
        x.requires_grad_()
        reference, labels = torch.cat([x, old]), torch.cat([y, old_labels])
        indices = miner(x, y, reference, labels, own_rows=torch.arange(12))
        assert (indices[1] >= 12).any()
        expected = criterion(x, y, indices, reference, labels)
        loss = memory(x, y)
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(torch.autograd.grad(loss, x)[0], torch.autograd.grad(expected, x)[0])


def test_no_item_is_its_own_positive_whoever_mines():
    """The easiest positive of every item is itself, which a miner that is told nothing of own rows takes."""
    x, y = batches(1)[0]
    assert (miners.BatchEasyHardMiner("easy", "hard")(x, y, x.clone(), y.clone())[1] == torch.arange(12)).any()
    memory = CrossBatchMemory(ContrastiveLoss(), 30, 5, miner=miners.BatchEasyHardMiner("easy", "all"))
    loss = memory(x, y)
    others = CrossBatchMemory(ContrastiveLoss(), 30, 5, miner=miners.PairMarginMiner(10.0, 10.0))
    assert loss == others(x, y)  # the negatives are left, all of them


def test_a_pair_loss_resumes_bit_for_bit_and_tells_no_triplets():
    data = batches(6, seed=1)
    first, second = (CrossBatchMemory(NTXentLoss(), 30, 5, start=1, miner=MINERS["pairs"][0]) for _ in range(2))
    for x, y in data[:3]:
        first(x, y)
    second.load_state_dict(first.state_dict())
    assert [first(x, y).item() for x, y in data[3:]] == [second(x, y).item() for x, y in data[3:]]
    with pytest.raises(ValueError, match="NTXentLoss has no triplets to tell of"):
        first.outcome(*data[0])


@pytest.mark.parametrize("criterion", [NPairsLoss(), ArcFaceLoss(3, 5), peer.NTXentLoss(), JoinedLoss(NPairsLoss())])
def test_a_loss_without_a_reference_set_is_refused(criterion):
    with pytest.raises(ValueError, match="takes no reference set, which a memory is"):
        CrossBatchMemory(criterion, 10, 5)
