"""How routes say what they take and answer: examples that work, schemas that hold."""

import pytest
from pydantic import BaseModel

from triune.web.answers import EmbedOptions, EnrolOptions, SearchOptions
from triune.web.asking import REASONS, body_of


@pytest.fixture(scope="module")
def document(client):
    return client.get("/openapi.json").json()


def test_every_example_of_json_is_answered(client, document):
    for path in ("/verify", "/predict", "/embed"):
        content = document["paths"][path]["post"]["requestBody"]["content"]
        assert client.post(path, json=content["application/json"]["example"]).status_code == 200
        assert "multipart/form-data" in content


def test_every_route_says_why_it_may_refuse(document):
    for path, methods in document["paths"].items():
        if path == "/metrics":
            continue
        for operation in methods.values():
            assert operation["description"]
            refused = {int(status) for status in operation["responses"]} - {200}
            assert refused <= set(REASONS)
            assert 403 in refused
            for status in refused:
                schema = operation["responses"][str(status)]["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/Problem"}


def test_images_are_files_of_a_form_and_texts_of_json():
    content = body_of(("images",), True, EmbedOptions, {})["requestBody"]["content"]
    formats = {kind: each["schema"]["properties"]["images"]["items"]["format"] for kind, each in content.items()}
    assert formats == {"application/json": "byte", "multipart/form-data": "binary"}


@pytest.mark.parametrize(
    ("options", "needed", "required"), [(EnrolOptions, None, ["images", "identity"]), (SearchOptions, (), [])]
)
def test_what_must_be_there_is_said(options: type[BaseModel], needed, required):
    schema = body_of(("images",), True, options, {}, needed)["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == required
