"""Routes of the run: their answers are those of the Python object, to the bit."""

import base64
import io

import numpy as np
import pytest
import timm
from PIL import Image

import triune
from triune._version import __version__
from triune.model.images import own_preprocessing
from triune.serving.loaded import LoadedRun
from triune.serving.public import PublicBackbone
from triune.web.limits import Limits
from triune.web.served import Content, Try
from web.conftest import asking, error_of, files, pair


def test_an_embedding_is_that_of_the_run_to_the_bit(client, loaded, pictures):
    answer = client.post("/embed", files=files(pictures[3])).json()
    np.testing.assert_array_equal(np.array(answer["embeddings"], np.float32), loaded.embed([pictures[3]]))
    assert (answer["dim"], answer["metric"], answer["fingerprint"]) == (16, "cosine", loaded.fingerprint)


def test_several_images_are_answered_in_their_order(client, loaded, pictures):
    answer = client.post("/embed", files=files(*pictures)).json()
    np.testing.assert_allclose(answer["embeddings"], loaded.embed(list(pictures)), atol=1e-6)


def test_a_prediction_is_that_of_the_run_with_its_mask_as_a_picture(client, loaded, pictures):
    (here,) = loaded.predict([pictures[2]])
    (answer,) = client.post("/predict", files=files(pictures[2])).json()["predictions"]
    mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer.pop("mask")))))
    np.testing.assert_array_equal(mask, here.mask)
    assert answer.pop("probabilities") == here.probabilities
    assert list(client.post("/predict", files=files(pictures[2])).json()["predictions"][0]["probabilities"]) == list(
        here.probabilities
    )
    assert answer == here.to_dict() | {"name": pictures[2].name, "embedding": None}


def test_what_is_not_asked_for_is_not_sent(client, loaded, pictures):
    (answer,) = client.post("/predict", files=files(pictures[2]), data={"masks": "false", "embeddings": "true"}).json()[
        "predictions"
    ]
    assert answer["mask"] is None
    np.testing.assert_array_equal(np.array([answer["embedding"]], np.float32), loaded.embed([pictures[2]]))


def test_one_image_is_compared_with_one_other(client, pictures):
    for sent in (files(pictures[0], field="first"), [*pair(*pictures[:2]), *files(pictures[2], field="second")]):
        assert "one as first and one as second" in error_of(client.post("/verify", files=sent), 422)


def test_a_picture_is_the_same_as_itself(client, pictures):
    assert client.post("/verify", files=pair(pictures[0], pictures[0])).json()["same"] is True


def test_about_says_what_is_served_but_not_where_it_lies(client, loaded, served_run):
    about = client.get("/about").json()
    assert about["name"] == served_run.name
    assert str(served_run.parent) not in client.get("/about").text
    assert (about["version"], about["classes"], about["masks"]) == (__version__, ["even", "odd"], True)
    assert about["can"] == ["verify", "predict", "embed"]
    assert about["gallery"] is None
    assert about["limits"]["images"] == Limits().images


def test_there_are_no_samples_but_in_the_demonstration(client, loaded, pictures):
    assert client.get("/samples").json() == {"images": []}
    error_of(client.get("/samples/0"), 404)
    with asking(Content(loaded, samples=[Try(str(pictures[0]), "odd", "id9")], demo=True)) as demo:
        assert demo.get("/samples").json() == {"images": [{"url": "/samples/0", "label": "odd", "identity": "id9"}]}
        assert demo.get("/samples/0").content == pictures[0].read_bytes()
        for other in ("1", "-1", "x", "..%2f..%2fetc%2fpasswd"):
            assert demo.get(f"/samples/{other}").status_code in (404, 422)


def test_alive_and_ready_are_two_questions(client):
    assert client.get("/health").json() == {"status": "alive"}
    assert client.get("/ready").json() == {"status": "ready"}


def test_a_service_whose_network_has_ended_is_not_ready(loaded):
    with asking(Content(loaded)) as client:
        client.app.state.served.batches.close()
        assert "start the service again" in error_of(client.get("/ready"), 503)


def test_a_public_backbone_embeds_and_says_why_it_does_no_more(pictures):
    name = "resnet10t"
    model = timm.create_model(name, pretrained=False, num_classes=0).eval()
    run = LoadedRun(PublicBackbone(name, model, 512, own_preprocessing(name), "cpu"), None)
    with asking(Content(run)) as client:
        assert client.get("/about").json()["can"] == ["embed"]
        assert len(client.post("/embed", files=files(pictures[0])).json()["embeddings"][0]) == 512
        assert "never trained here" in error_of(client.post("/verify", files=pair(*pictures[:2])), 404)
        assert "neither a class head nor a mask head" in error_of(
            client.post("/predict", files=files(pictures[0])), 404
        )
        assert "stores no validation pairs" in error_of(client.get("/pairs"), 404)


def test_a_run_without_an_embedding_says_so(loaded, pictures, monkeypatch):
    monkeypatch.setattr(type(loaded), "dim", 0)
    with asking(Content(loaded)) as client:
        assert client.get("/about").json()["can"] == ["predict"]
        for path, sent in (("/embed", files(pictures[0])), ("/verify", pair(*pictures[:2]))):
            assert "no embedding head" in error_of(client.post(path, files=sent), 404)


def test_an_exported_file_is_served_as_its_run_is(loaded, client, pictures, tmp_path):
    pytest.importorskip("onnxruntime")
    loaded.export(tmp_path / "model.onnx", check=4)
    with asking(Content(triune.load(tmp_path / "model.onnx"))) as exported:
        assert exported.get("/about").json()["can"] == ["verify", "predict", "embed"]
        here, there = (each.post("/verify", files=pair(*pictures[:2])).json() for each in (client, exported))
        assert there["threshold"] == here["threshold"]
        assert there["distance"] == pytest.approx(here["distance"], abs=1e-4)
        here, there = (each.get("/pairs").json() for each in (client, exported))
        assert sum(there["matching"]) == sum(here["matching"]) > 0
        assert sum(there["others"]) == sum(here["others"]) > 0
        assert [each["fpr"] for each in there["levels"] if each["exact"]] == [
            each["fpr"] for each in here["levels"] if each["exact"]
        ]
