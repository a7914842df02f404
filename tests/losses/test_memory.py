"""Cross-batch memory: what it remembers, what flows back, and that a resumed run is the same run."""

import io

import numpy as np
import pytest
import torch

from triune.losses.memory import CrossBatchMemory
from triune.losses.triplet import TripletLoss


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
