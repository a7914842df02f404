"""Losses over two and three processes against one process on the joined batch."""

import os

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from forked import run_forked
from triune.losses.contrastive import ContrastiveLoss
from triune.losses.joined import DistributedTripletLoss, JoinedLoss
from triune.losses.memory import CrossBatchMemory
from triune.losses.names import ProxyAnchorLoss
from triune.losses.pair_mining import BatchEasyHardMiner, PairMarginMiner
from triune.losses.softmax import NTXentLoss, SupConLoss
from triune.losses.triplet import TripletLoss

CASES = [
    {"mining": "all", "reduction": "mean_active"},
    {"mining": "all", "reduction": "sum", "metric": "cosine"},
    {"mining": "all", "reduction": "mean", "margin": "soft"},
    {"mining": "all", "gap": (0.0, 0.3)},
    {"mining": "hard", "reduction": "mean"},
    {"mining": "batch_hard", "metric": "squared_euclidean", "normalize": False},
    {"mining": "semihard", "margin": 0.4},
    {"mining": "random", "reduction": "mean"},
    {"mining": "all", "reduction": "per_anchor", "swap": True},
    {"mining": "hard", "margin": 0.3, "smooth": True, "swap": True},
]
PAIRS = [NTXentLoss, ContrastiveLoss, lambda: proxies(6)]
MEMORIES = [
    lambda joined: remembering(JoinedLoss(NTXentLoss(0.5), averaged=False) if joined else NTXentLoss(0.5)),
    lambda joined: remembering(
        JoinedLoss(ContrastiveLoss(), averaged=False) if joined else ContrastiveLoss(), PairMarginMiner(0.5, 1.2)
    ),
    lambda joined: remembering(
        DistributedTripletLoss(averaged=False) if joined else TripletLoss(), BatchEasyHardMiner("easy", "hard")
    ),
]
SIZES = {2: (9, 5), 3: (7, 0, 12)}


def joined(n, dtype=torch.float64):
    g = torch.Generator().manual_seed(0)
    return torch.randn(n, 6, generator=g).to(dtype), torch.randint(0, 4, (n,), generator=g) + 2**53


def proxies(width):
    torch.manual_seed(2)
    return ProxyAnchorLoss(4, width).double()


def remembering(criterion, miner=None):
    """A memory that wraps around at the third step, and is left out at the first."""
    return CrossBatchMemory(criterion, size=30, embedding_dim=6, start=1, miner=miner).double()


def network(dtype=torch.float64):
    torch.manual_seed(1)
    return nn.Linear(6, 5).to(dtype)


def work(rank, world, file, results):
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=world)
    sizes = SIZES[world]
    rows = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
    x, y = joined(sum(sizes))
    answers = []
    for options in CASES:
        for averaged in (True, False):
            local = x[rows].clone().requires_grad_()
            torch.manual_seed(3 + rank)  # random triplets are those of the first process's generator
            outcome = DistributedTripletLoss(averaged=averaged, **options).outcome(local, y[rows])
            outcome.loss.backward()
            answers.append((outcome.loss.item(), int(outcome.triplets), int(outcome.active), local.grad.tolist()))
    # A memory of the joined batches.
    memory, steps = remembering(DistributedTripletLoss(averaged=False, mining="semihard", margin=0.5)), []
    for step in range(4):
        local = (x[rows] + 0.3 * step).requires_grad_()
        loss = memory(local, y[rows])
        loss.backward()
        steps.append((loss.item(), local.grad.tolist()))
    answers.append((steps, memory.state_dict()))
    # float32 goes by the kernels.
    local = x[rows].float().requires_grad_()
    loss = DistributedTripletLoss(averaged=False)(local, y[rows])
    loss.backward()
    answers.append((loss.item(), local.grad.tolist()))
    # Through DistributedDataParallel, whose gradients are averaged.
    model = DistributedDataParallel(network())
    DistributedTripletLoss(mining="semihard", margin=0.5)(model(x[rows]), y[rows]).backward()
    answers.append([parameter.grad.tolist() for parameter in model.parameters()])
    # Other losses, whole in every process.
    model = DistributedDataParallel(network())
    JoinedLoss(SupConLoss())(model(x[rows]), y[rows]).backward()
    answers.append([parameter.grad.tolist() for parameter in model.parameters()])
    for make in PAIRS:
        local, criterion = x[rows].clone().requires_grad_(), make()
        loss = JoinedLoss(criterion, averaged=False)(local, y[rows] - 2**53)
        loss.backward()
        answers.append((loss.item(), local.grad.tolist(), [p.grad.tolist() for p in criterion.parameters()]))
    # Pair losses, and a miner, with a memory of the joined batches.
    for make in MEMORIES:
        memory, steps = make(True), []
        for step in range(4):
            local = (x[rows] + 0.3 * step).requires_grad_()
            loss = memory(local, y[rows])
            loss.backward()
            steps.append((loss.item(), local.grad.tolist()))
        answers.append((steps, memory.state_dict()))
    try:
        DistributedTripletLoss(reduction="none")(x[rows], y[rows])
    except ValueError as error:
        answers.append(str(error))
    try:
        DistributedTripletLoss()(x[rows], ["a"] * max(1, len(x[rows])))
    except ValueError as error:
        answers.append(str(error))
    torch.save(answers, results / f"{rank}.pt")
    # A process that leaves while another still talks to it makes torch abort that one now and then.
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module", params=[2, 3])
def answers(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    run_forked(work, (request.param, folder / "store", folder), request.param)
    return request.param, [torch.load(folder / f"{rank}.pt") for rank in range(request.param)]


@pytest.mark.parametrize("case", range(len(CASES)), ids=[str(case) for case in CASES])
def test_value_and_gradient_are_those_of_the_joined_batch(answers, case):
    world, per_process = answers
    x, y = joined(sum(SIZES[world]))
    x.requires_grad_()
    torch.manual_seed(3)
    expected = TripletLoss(**CASES[case]).outcome(x, y)
    expected.loss.backward()
    for scaled, factor in ((0, world), (1, 1)):
        found = [answer[2 * case + scaled] for answer in per_process]
        for loss, triplets, active, _ in found:
            assert loss == pytest.approx(expected.loss.item(), abs=1e-12)
            assert (triplets, active) == (int(expected.triplets), int(expected.active))
        gradient = torch.tensor([row for *_, rows in found for row in rows], dtype=torch.float64)
        torch.testing.assert_close(gradient, factor * x.grad, rtol=0, atol=1e-12)


def test_a_memory_holds_the_joined_batches_in_every_process(answers):
    world, per_process = answers
    x, y = joined(sum(SIZES[world]))
    memory = remembering(TripletLoss(mining="semihard", margin=0.5))
    for step in range(4):
        batch = (x + 0.3 * step).requires_grad_()
        expected = memory(batch, y)
        expected.backward()
        found = [answer[2 * len(CASES)][0][step] for answer in per_process]
        assert [loss for loss, _ in found] == pytest.approx([expected.item()] * world, abs=1e-12)
        gradient = torch.tensor([row for _, rows in found for row in rows], dtype=torch.float64)
        torch.testing.assert_close(gradient, batch.grad, rtol=0, atol=1e-12)
    for answer in per_process:
        state = answer[2 * len(CASES)][1]
        assert all(torch.equal(state[name], buffer) for name, buffer in memory.state_dict().items())


def test_the_kernels_of_float32_agree(answers):
    world, per_process = answers
    x, y = joined(sum(SIZES[world]), torch.float32)
    x.requires_grad_()
    expected = TripletLoss()(x, y)
    expected.backward()
    found = [answer[2 * len(CASES) + 1] for answer in per_process]
    assert [loss for loss, _ in found] == pytest.approx([expected.item()] * world, rel=1e-5)
    gradient = torch.tensor([row for _, rows in found for row in rows])
    torch.testing.assert_close(gradient, x.grad, rtol=1e-4, atol=1e-6)


def test_averaged_gradients_of_a_network_are_those_of_the_joined_batch(answers):
    world, per_process = answers
    x, y = joined(sum(SIZES[world]))
    model = network()
    TripletLoss(mining="semihard", margin=0.5)(model(x), y).backward()
    for answer in per_process:
        for mine, theirs in zip(answer[2 * len(CASES) + 2], model.parameters(), strict=True):
            torch.testing.assert_close(torch.tensor(mine, dtype=torch.float64), theirs.grad, rtol=0, atol=1e-12)


def test_another_loss_of_the_joined_batch_has_its_gradient(answers):
    world, per_process = answers
    x, y = joined(sum(SIZES[world]))
    model = network()
    SupConLoss()(model(x), y).backward()
    for answer in per_process:
        for mine, theirs in zip(answer[2 * len(CASES) + 3], model.parameters(), strict=True):
            torch.testing.assert_close(torch.tensor(mine, dtype=torch.float64), theirs.grad, rtol=0, atol=1e-12)
    for index, make in enumerate(PAIRS):
        leaf, criterion = x.clone().requires_grad_(), make()
        expected = criterion(leaf, y - 2**53)
        expected.backward()
        found = [answer[2 * len(CASES) + 4 + index] for answer in per_process]
        assert [loss for loss, *_ in found] == pytest.approx([expected.item()] * world, abs=1e-12)
        gradient = torch.tensor([row for _, rows, _ in found for row in rows], dtype=torch.float64)
        torch.testing.assert_close(gradient, leaf.grad, rtol=0, atol=1e-12)
        for place, parameter in enumerate(criterion.parameters()):  # summed over the processes
            whole = sum(torch.tensor(own[place], dtype=torch.float64) for *_, own in found)
            torch.testing.assert_close(whole, parameter.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", range(len(MEMORIES)), ids=["pairs", "pairs of a miner", "triplets of a miner"])
def test_a_memory_of_pairs_or_with_a_miner_is_that_of_the_joined_batches(answers, case):
    world, per_process = answers
    x, y = joined(sum(SIZES[world]))
    memory, place = MEMORIES[case](False), 2 * len(CASES) + 4 + len(PAIRS) + case
    for step in range(4):
        batch = (x + 0.3 * step).requires_grad_()
        expected = memory(batch, y)
        expected.backward()
        found = [answer[place][0][step] for answer in per_process]
        assert [loss for loss, _ in found] == pytest.approx([expected.item()] * world, abs=1e-12)
        gradient = torch.tensor([row for _, rows in found for row in rows], dtype=torch.float64)
        torch.testing.assert_close(gradient, batch.grad, rtol=0, atol=1e-12)
    for answer in per_process:
        assert all(torch.equal(answer[place][1][name], buffer) for name, buffer in memory.state_dict().items())


def test_the_losses_of_each_triplet_are_those_of_one_process(answers):
    _, per_process = answers
    assert all("reduction 'none' is that of one process" in answer[-2] for answer in per_process)


def test_labels_that_are_words_are_refused(answers):
    _, per_process = answers
    assert all("number them once" in answer[-1] for answer in per_process)


def test_one_process_has_the_plain_loss():
    x, y = joined(14)
    assert DistributedTripletLoss(mining="hard")(x, y) == TripletLoss(mining="hard")(x, y)
    assert DistributedTripletLoss()(x, [f"{label}" for label in y.tolist()]) == TripletLoss()(x, y)
