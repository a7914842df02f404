"""Mixed precision that costs time is told, and asking changes nothing of the network."""

import torch

from triune.model.network import MultiTaskModel
from triune.training import precision
from triune.training.precision import slowdown, warned

SHAPE = (3, 32, 32)


def made():
    return MultiTaskModel("resnet10t", num_classes=3, mask_channels=1, embedding_dim=8, pretrained=False)


def test_the_network_is_as_it_was_after_it_was_asked():
    model = made().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(3)
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert slowdown(model, SHAPE, "bf16-mixed") > 0
    assert torch.rand(1) == drawn
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_only_what_costs_time_on_a_processor_is_told(monkeypatch):
    model = made()
    for times, on_processor, kind, told in (
        (17.4, True, "bf16-mixed", True),
        (1.3, True, "16-mixed", True),
        (1.1, True, "bf16-mixed", False),
        (17.4, False, "bf16-mixed", False),
        (17.4, True, "32-true", False),
    ):
        monkeypatch.setattr(precision, "slowdown", lambda *_, times=times: times)
        said = warned(model, SHAPE, kind, on_processor)
        assert (said is not None) is told
    monkeypatch.setattr(precision, "slowdown", lambda *_: 17.4)
    assert warned(model, SHAPE, "bf16-mixed", True) == (
        "bf16-mixed takes 17 times as long as 32-true for this network on this processor: --trainer.precision 32-true"
    )
