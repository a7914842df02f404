"""The parts that proxy losses share: cosines of proxies, smoothed entropy, the angular margin."""

import math

import pytest
import torch

from triune.losses.class_logits import checked_classes, class_entropy, cosines, with_angular_margin


def test_cosines_keep_the_centres_of_a_class_together():
    g = torch.Generator().manual_seed(0)
    x, w = torch.randn(4, 6, generator=g), torch.randn(3, 2, 6, generator=g)
    found = cosines(x, w)
    expected = torch.nn.functional.cosine_similarity(x[:, None, None], w[None], dim=-1)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(cosines(x, w[:, 0]), expected[:, :, 0])
    assert cosines(x[:0], w).shape == (0, 3, 2)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
def test_smoothed_entropy_is_that_of_the_shared_out_target(smoothing):
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    classes = torch.tensor([0, 3, 1, 1, 2])
    rows = []
    for row, own in zip(logits, classes.tolist()):
        target = [smoothing / 4 + (1 - smoothing) * (k == own) for k in range(4)]
        total = math.log(sum(math.exp(v) for v in row.tolist()))
        rows.append(sum(t * (total - v) for t, v in zip(target, row.tolist())))
    found = class_entropy(logits, classes, smoothing)
    assert found.item() == pytest.approx(sum(rows) / 5, rel=1e-12)
    (gradient,) = torch.autograd.grad(found, logits)
    target = smoothing / 4 + (1 - smoothing) * torch.nn.functional.one_hot(classes, 4)
    torch.testing.assert_close(gradient, (logits.softmax(1) - target).detach() / 5)


def test_an_angular_margin_turns_the_own_class_only():
    cosine = torch.tensor([[math.cos(0.4), math.cos(1.0)]]).double()
    found = with_angular_margin(cosine, torch.tensor([0]), 0.5)
    assert found.tolist()[0] == pytest.approx([math.cos(0.9), math.cos(1.0)])


def test_classes_and_shares_that_do_not_fit_are_named():
    cosine = torch.zeros(3, 2)
    with pytest.raises(ValueError, match="one whole number for each of 3 embeddings"):
        checked_classes(torch.tensor([0, 1]), cosine)
    with pytest.raises(ValueError, match="classes run from 0 to 2 but proxies from 0 to 1"):
        checked_classes(torch.tensor([0, 1, 2]), cosine)
    for share in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="label_smoothing is"):
            class_entropy(cosine, torch.tensor([0, 1, 0]), share)
