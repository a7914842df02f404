"""Networks run over batches: masks counted pixel by pixel, the ignored ones left out."""

import numpy as np
import pytest
import torch
from torch import nn

from triune.data.dataset import Batch
from triune.errors import InputError
from triune.evaluation.predict import predict
from triune.model.network import Prediction, predicted_masks


class Echo(nn.Module):
    """Gives mask logits, class logits and embeddings that are laid down beforehand, batch by batch."""

    def __init__(self, outputs):
        super().__init__()
        self.outputs = iter(outputs)

    def forward(self, images):
        return next(self.outputs)


def batch(masks):
    count = len(masks)
    missing = torch.full((count,), -1)
    images = torch.zeros(count, 3, *masks.shape[1:])
    return Batch(images, missing, missing, torch.as_tensor(masks, dtype=torch.int64), torch.arange(count))


def masks(ids, seed, count=4):
    g = np.random.default_rng(seed)
    true = g.integers(0, ids, (count, 6, 7))
    true[g.random(true.shape) < 0.15] = 255
    return true


def loop_counts(true, predicted, ids):
    counts = np.zeros((ids, ids), dtype=int)
    for t, p in zip(true.ravel().tolist(), predicted.ravel().tolist()):
        if t != 255:
            counts[t, p] += 1
    return counts


@pytest.mark.parametrize("channels", [1, 3])
def test_masks_are_counted_over_all_batches_without_ignored_pixels(channels):
    ids = max(2, channels)
    g = np.random.default_rng(channels)
    true = [masks(ids, seed) for seed in (1, 2)]
    true[1][0] = 255  # an item without a mask
    logits = [torch.from_numpy(g.normal(size=(4, channels, 6, 7))).float() for _ in true]
    model = Echo([Prediction(class_logits=None, mask_logits=each, embedding=None) for each in logits])
    found = predict(model, [batch(each) for each in true])
    said = [
        np.array([[[int(p[0] > 0) if channels == 1 else int(np.argmax(p)) for p in row] for row in image]
                  for image in each.permute(0, 2, 3, 1).numpy()])
        for each in logits
    ]  # fmt: skip
    expected = sum(loop_counts(t, p, ids) for t, p in zip(true, said))
    assert found.mask_confusion.tolist() == expected.tolist()
    assert found.masked == 7
    assert found.classes is None
    assert found.embeddings is None


def test_one_channel_is_cut_at_zero_and_several_take_the_largest():
    assert predicted_masks(torch.tensor([[[[-0.1, 0.0, 0.1]]]])).tolist() == [[[0, 0, 1]]]
    assert predicted_masks(torch.tensor([[[[3.0, -2.0]], [[1.0, -1.0]]]])).tolist() == [[[0, 1]]]


def test_embeddings_and_classes_come_in_the_order_of_the_batches():
    outputs = [
        Prediction(torch.tensor([[0.0, 1.0], [2.0, 1.0]]), None, torch.tensor([[1.0, 0.0], [0.0, 1.0]])),
        Prediction(torch.tensor([[0.5, 0.7]]), None, torch.tensor([[0.6, 0.8]])),
    ]
    done = []
    model = Echo(outputs).train()
    found = predict(model, [batch(masks(2, 1, 2)), batch(masks(2, 2, 1))], progress=done.append)
    assert found.classes.tolist() == [1, 0, 1]
    assert found.embeddings.tolist() == pytest.approx(np.array([[1, 0], [0, 1], [0.6, 0.8]]))
    assert done == [2, 3]
    assert (found.mask_confusion, found.masked) == (None, 0)
    assert model.training  # as it was


@pytest.mark.parametrize("head", ["class_logits", "mask_logits", "embedding"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_answer_that_is_no_number_is_refused_and_the_item_named(head, value):
    shapes = {"class_logits": (4, 3), "mask_logits": (4, 1, 6, 7), "embedding": (4, 5)}
    answers = {name: torch.zeros(shape) for name, shape in shapes.items()}
    answers[head][2].view(-1)[1] = value
    with pytest.raises(InputError, match=r"answer for item 2 \(counted from 0\) is not finite"):
        predict(Echo([Prediction(**answers)]), [batch(masks(2, 1))])
