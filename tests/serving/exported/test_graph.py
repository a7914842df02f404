"""A network as a graph: bytes in, the network's own answers out; what cannot be traced says why."""

import pytest
import torch

from run.test_folder import card
from triune.data.normalising import normalise
from triune.errors import InputError
from triune.model.network import MultiTaskModel, looks_of
from triune.serving.exported.graph import WholeNetwork, as_onnx, as_program, example


def network(**changes):
    torch.manual_seed(0)
    given = card().model.model_copy(update=changes)
    return MultiTaskModel(**given.model_dump(), pretrained=False).eval(), card(model=given)


def test_the_heads_that_there_are_come_out_in_order():
    model, said = network(mask_channels=1)
    images = example(said, 3)
    assert (images.shape, images.dtype) == ((3, 32, 32, 3), torch.uint8)
    assert torch.equal(images, example(said, 3)), "always the same"
    whole = WholeNetwork(model, said, "all", looks=True)
    assert whole.outputs == ["embedding", "probabilities", "mask_logits", "look_finer", "look_coarser"]
    with torch.inference_mode():
        seen = normalise(images.permute(0, 3, 1, 2), said.mean, said.std)
        expected = model(seen)
        found = dict(zip(whole.outputs, whole(images), strict=True))
        torch.testing.assert_close(found["embedding"], expected.embedding)
        torch.testing.assert_close(found["probabilities"], expected.class_logits.softmax(1))
        torch.testing.assert_close(found["mask_logits"], expected.mask_logits)
        torch.testing.assert_close(found["look_coarser"], looks_of(model.maps(seen))[1])
        part = WholeNetwork(model, said, "embedding", looks=False)
        assert part.outputs == ["embedding"]
        assert len(part(images)) == 1


def test_a_network_that_cannot_be_traced_says_why_in_one_line(monkeypatch):
    def fails(*_, **__):
        try:
            raise RuntimeError("it looks at a value\nand more of this")
        except RuntimeError as inner:
            raise ValueError("step 3 of 5 failed") from inner

    model, said = network()
    whole = WholeNetwork(model, said, "embedding", looks=False)
    monkeypatch.setattr(torch.onnx, "export", fails)
    with pytest.raises(InputError, match=r"no ONNX graph of a network with resnet10t: it looks at a value$"):
        as_onnx(whole, said)
    monkeypatch.setattr(torch.export, "export", fails)
    with pytest.raises(InputError, match=r"takes no network with resnet10t: it looks at a value$"):
        as_program(whole, said)
