"""What each head costs, against loops in float64."""

import math

import numpy as np
import pytest
import torch
import torch.distributed as dist

from forked import run_forked
from oracles import brute_cross_entropy, brute_dice, brute_pixel_entropy
from triune.model.terms import classification_loss, dice_loss, segmentation_loss


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("classes", [[0, 1, 2, 3, 0, 1], [0, -1, 2, -1, 3, 2], [-1, -1, -1, 1, -1, -1]])
def test_classification_is_the_mean_cross_entropy_of_items_with_a_class(classes, smoothing):
    logits = 3 * drawn(0, 6, 4)
    ours = classification_loss(logits, torch.tensor(classes), smoothing)
    assert ours.item() == pytest.approx(brute_cross_entropy(logits.numpy(), classes, smoothing), rel=1e-6)


def test_one_missing_class_is_not_counted_in_the_mean():
    """Two items of logits (0, 0) cost log 2 each; a third without a class leaves the mean at log 2."""
    logits = torch.zeros(3, 2)
    assert classification_loss(logits, torch.tensor([0, 1, -1])).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("ignored", [0.0, 0.3, 0.95])
@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("dice", [0.0, 0.7])
def test_segmentation_is_the_mean_over_pixels_that_count_and_dice_times_its_weight(channels, ignored, dice):
    rng = np.random.default_rng(channels)
    logits = 2 * drawn(channels, 3, channels, 5, 4)
    masks = rng.integers(0, 3 if channels == 1 else channels, (3, 5, 4))
    masks[rng.random(masks.shape) < ignored] = 255
    expected = brute_pixel_entropy(logits.numpy(), masks) + dice * brute_dice(logits.numpy(), masks)
    ours = segmentation_loss(logits, torch.from_numpy(masks), dice)
    assert ours.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_one_pixel_that_counts_is_the_whole_mean(channels):
    logits = 2 * drawn(7, 2, channels, 3, 4)
    masks = np.full((2, 3, 4), 255)
    masks[1, 2, 0] = 1
    one = logits[1, :, 2, 0].double().numpy()
    p = 1 / (1 + np.exp(-one[0])) if channels == 1 else np.exp(one[1]) / np.exp(one).sum()
    assert segmentation_loss(logits, torch.from_numpy(masks)).item() == pytest.approx(-np.log(p), rel=1e-5)
    dice = segmentation_loss(logits, torch.from_numpy(masks), 0.7).item() + np.log(p)
    assert dice == pytest.approx(0.7 * (1 - 2 * p / (1 + p)), rel=1e-5)


def test_nothing_is_smoothed_or_added_unless_asked():
    logits, classes = drawn(3, 4, 3), torch.tensor([0, 1, 2, 0])
    assert classification_loss(logits, classes) == classification_loss(logits, classes, 0.0)
    maps, masks = drawn(4, 2, 3, 2, 2), torch.tensor([[[0, 1], [2, 0]]] * 2)
    assert segmentation_loss(maps, masks) == segmentation_loss(maps, masks, 0.0)


def test_with_one_channel_every_id_above_zero_is_foreground():
    logits = torch.full((1, 1, 1, 3), 2.0)
    masks = torch.tensor([[[0, 1, 7]]])
    background, foreground = math.log(1 + math.exp(2)), math.log(1 + math.exp(-2))
    assert segmentation_loss(logits, masks).item() == pytest.approx((background + 2 * foreground) / 3)


def test_dice_counts_a_channel_only_where_it_occurs():
    """The second channel is in no mask: predicting it nowhere must not be rewarded, nor its absence punished."""
    masks = torch.tensor([[[0, 0], [2, 2]]])
    logits = drawn(5, 1, 3, 2, 2)
    p = torch.softmax(logits, 1)[0]
    costs = []
    for channel in (0, 2):
        here = (masks[0] == channel).double()
        costs.append(1 - 2 * (p[channel] * here).sum() / (p[channel].sum() + here.sum()))
    added = segmentation_loss(logits, masks, 1.0) - segmentation_loss(logits, masks)
    assert added.item() == pytest.approx(sum(costs).item() / 2, rel=1e-5)


def test_dice_is_of_the_whole_batch_not_a_mean_over_images():
    """One image with all of the foreground, one with none: by image the second would have no coefficient at all."""
    probabilities = torch.tensor([[[[0.9, 0.8]]], [[[0.4, 0.2]]]])
    targets = torch.tensor([[[[1.0, 1.0]]], [[[0.0, 0.0]]]])
    known = torch.ones(2, 1, 2, dtype=torch.bool)
    assert dice_loss(probabilities, targets, known).item() == pytest.approx(1 - 2 * 1.7 / (2.3 + 2))


@pytest.mark.parametrize("channels", [1, 3])
def test_nothing_that_counts_costs_zero_with_gradient_zero(channels):
    logits = drawn(0, 2, channels, 3, 3).requires_grad_()
    masks = torch.full((2, 3, 3), 255)
    loss = segmentation_loss(logits, masks, 1.0)
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()
    scores = drawn(0, 3, 4).requires_grad_()
    loss = classification_loss(scores, torch.full((3,), -1))
    loss.backward()
    assert loss.item() == 0
    assert (scores.grad == 0).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_pixel_that_is_ignored_moves_nothing_and_has_no_gradient(channels):
    logits = drawn(1, 1, channels, 2, 2)
    masks = torch.tensor([[[0, 255], [1, 0]]])
    whole = segmentation_loss(logits, masks).item()
    moved = logits.clone()
    moved[..., 0, 1] += 5
    assert segmentation_loss(moved, masks).item() == pytest.approx(whole, rel=1e-12)
    leaf = logits.clone().requires_grad_()
    segmentation_loss(leaf, masks, 1.0).backward()
    assert (leaf.grad[..., 0, 1] == 0).all()
    assert (leaf.grad[..., 0, 0] != 0).all()


def test_a_channel_that_is_hardly_there_counts_with_the_share_that_it_is():
    """One of 10,000 pixels, hit with a probability of 1e-4: 2·1e-4 of 1.0001 is what agrees."""
    targets = torch.zeros(1, 1, 100, 100, dtype=torch.float64)
    targets[0, 0, 3, 4] = 1
    probabilities = 1e-4 * targets
    known = torch.ones(1, 100, 100, dtype=torch.bool)
    assert dice_loss(probabilities, targets, known).item() == pytest.approx(1 - 2e-4 / 1.0001, rel=1e-9)
    # Of soft targets, too, whose sum lies far below 1.
    tiny = dice_loss(1e-3 * targets, 1e-3 * targets, known).item()
    assert tiny == pytest.approx(1 - 2e-6 / 2e-3, rel=1e-6)


def batch_of(sizes, rank=None):
    """Logits and targets of all processes, or of one; some classes and pixels are missing."""
    g = torch.Generator().manual_seed(0)
    n = sum(sizes)
    logits, classes = torch.randn(n, 3, generator=g).double(), torch.randint(-1, 3, (n,), generator=g)
    maps, masks = torch.randn(n, 2, 4, 4, generator=g).double(), torch.randint(0, 2, (n, 4, 4), generator=g)
    masks[torch.rand(n, 4, 4, generator=g) < 0.3] = 255
    classes[: sizes[0]] = -1  # the first process has no class at all
    whole = logits, classes, maps, masks
    rows = slice(None) if rank is None else slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
    return [part[rows].clone() for part in whole]


SIZES = (3, 5, 1)


def losses_of(logits, classes, maps, masks, joined):
    logits.requires_grad_()
    maps.requires_grad_()
    losses = [
        classification_loss(logits, classes, 0.1, joined=joined),
        segmentation_loss(maps, masks, 0.5, joined=joined),
        segmentation_loss(maps[:, :1], masks, 0.5, joined=joined),
    ]
    torch.stack(losses).sum().backward()
    return [loss.item() for loss in losses], logits.grad, maps.grad


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=len(SIZES))
    torch.save(losses_of(*batch_of(SIZES, rank), joined=True), folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def test_over_processes_the_terms_are_means_over_the_joined_batch(tmp_path):
    run_forked(work, (tmp_path,), len(SIZES))
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(len(SIZES))]
    expected, *gradients = losses_of(*batch_of(SIZES), joined=False)
    for losses, *_ in found:
        assert losses == pytest.approx(expected, abs=1e-12)
    for place, gradient in enumerate(gradients, start=1):  # each is averaged over the processes afterwards
        averaged = torch.cat([each[place] for each in found]) / len(SIZES)
        torch.testing.assert_close(averaged, gradient, rtol=0, atol=1e-12)
