"""A batch in chunks has the answers, the loss and the gradients of the whole batch."""

import pytest
import torch

from model.small import images
from triune.losses.triplet import TripletLoss
from triune.model.network import MultiTaskModel
from triune.model.objective import MultiTaskObjective, Targets
from triune.training.chunks import ChunkedPrediction

TARGETS = Targets(
    torch.tensor([0, 1, 2, 0, 1, 2, -1]), (images(7)[:, 0] > 0).long(), torch.tensor([0, 0, 1, 1, 2, 2, -1])
)


def network(masks=1):
    torch.manual_seed(0)
    model = MultiTaskModel("test_vit", num_classes=3, mask_channels=masks, embedding_dim=8, pretrained=False)
    return model.eval().double()  # in evaluation mode nothing looks across a batch


def gradients(model):
    found = {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    return found


@pytest.mark.parametrize(("chunk", "masks"), [(1, 0), (6, 0), (2, 2), (3, 1)])
def test_the_loss_and_every_gradient_are_those_of_the_whole_batch_in_float64(chunk, masks):
    model = network(masks)
    objective = MultiTaskObjective(triplet=TripletLoss(mining="all"), weighting="uncertainty").double()
    x = images(7).double()
    whole = objective(model(x), TARGETS)
    whole.total.backward()
    expected, of_objective = gradients(model), gradients(objective)
    chunks = ChunkedPrediction(model, x, chunk)
    parts = objective(chunks.prediction, TARGETS)
    torch.testing.assert_close(parts.total, whole.total, rtol=1e-12, atol=1e-14)
    parts.total.backward()
    chunks.backward()
    found = gradients(model)
    for name, gradient in expected.items():
        assert (gradient is None) == (found[name] is None), name
        if gradient is not None:
            single = name.endswith("pos_embed")  # timm stretches these in float32, whatever they are in
            tolerance = {"rtol": 1e-4, "atol": 1e-6} if single else {"rtol": 1e-9, "atol": 1e-12}
            torch.testing.assert_close(found[name], gradient, **tolerance, msg=name)
    torch.testing.assert_close(gradients(objective)["log_variances"], of_objective["log_variances"])


def test_heads_that_are_left_out_stay_so_and_no_chunk_is_a_single_image():
    model = MultiTaskModel("test_resnet", num_classes=0, mask_channels=0, embedding_dim=8, pretrained=False)
    seen = []
    model.backbone.register_forward_hook(lambda module, given, _: seen.append(len(given[0])))
    found = ChunkedPrediction(model, images(10), 3).prediction
    assert found.class_logits is None
    assert found.mask_logits is None
    assert found.embedding.shape == (10, 8)
    assert seen == [2, 3, 2, 3]


def test_running_statistics_are_counted_once():
    torch.manual_seed(0)
    model = MultiTaskModel("test_resnet", num_classes=2, mask_channels=0, embedding_dim=8, pretrained=False)
    chunks = ChunkedPrediction(model, images(6), 3)
    assert int(model.backbone.model.bn1.num_batches_tracked) == 0
    chunks.prediction.embedding.sum().backward()
    chunks.backward()
    assert int(model.backbone.model.bn1.num_batches_tracked) == 2
