"""A run as torch's exported program: the same bytes in, the same answers out, without this package."""

import json

import numpy as np
import pytest
import torch

from triune.errors import InputError
from triune.serving.exported import program
from triune.serving.loaded import load


def test_torch_alone_loads_it_and_it_answers_as_the_run(exported, tmp_path):
    folder, _ = exported
    run = load(folder / "run", device="cpu")
    written = run.export(tmp_path / "m.pt2", part="embedding", check=4)
    assert (written.card.opset, [each.shown for each in written.checked]) == (None, [4, 4])
    extras = {"triune.json": ""}
    module = torch.export.load(tmp_path / "m.pt2", extra_files=extras).module()
    assert json.loads(extras["triune.json"])["fingerprint"] == run.fingerprint
    image = folder / "images" / "2-0.png"
    pixels = run.network.preprocessing.image(image, 3).pixels
    for count in (1, 3):
        found = module(torch.from_numpy(np.stack([pixels] * count)))[0]
        np.testing.assert_allclose(found.detach(), run.embed([image] * count), atol=1e-5)


def test_what_does_not_fit_says_so(exported, tmp_path, monkeypatch):
    run = load(exported[0] / "run", device="cpu")
    with pytest.raises(InputError, match=r"8 bits are for ONNX files"):
        run.export(tmp_path / "m.pt2", int8=True)

    class Wrong:
        def module(self):
            return lambda batch: tuple(each + 1 for each in program.whole_network(run.network, "embedding")(batch))

    monkeypatch.setattr(program, "as_program", lambda *_: Wrong())
    with pytest.raises(InputError, match=r"does not answer as the network does: of 5 validation images .* nothing was"):
        run.export(tmp_path / "m.pt2", part="embedding", check=5)
    assert list(tmp_path.iterdir()) == []
