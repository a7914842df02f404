"""The application: what it answers where there is nothing, the page and its files, a document that holds."""

from importlib.resources import files as resources
from pathlib import Path

import pytest

from triune.web.served import Content
from web.conftest import asking, error_of, files


@pytest.mark.parametrize("path", ["/nothing", "/verify/x", "/page/../../../etc/passwd", "/page/%2e%2e/app.py"])
def test_where_there_is_nothing_it_is_said_in_one_line(client, path):
    assert "openapi.json" in error_of(client.get(path), 404)


def test_a_method_that_a_route_does_not_answer_is_405(client):
    answer = client.put("/verify")
    assert "/verify does not answer PUT" in error_of(answer, 405)
    assert answer.headers["allow"] == "POST"


def test_nothing_loads_scripts_from_elsewhere(client):
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404


def test_the_page_or_what_stands_for_it_is_at_the_root(client):
    answer = client.get("/")
    assert answer.status_code == 200
    index = Path(str(resources("triune.web"))) / "page" / "index.html"
    if index.is_file():
        assert answer.text == index.read_text()
    assert client.head("/").status_code == 200


def test_all_that_goes_wrong_in_the_service_is_one_line(loaded, pictures, monkeypatch):
    def broken(*_):
        raise KeyError("secret")

    with asking(Content(loaded), raise_server_exceptions=False) as client:
        monkeypatch.setattr("triune.web.routes.figures_of", broken)
        told = error_of(client.get("/about"), 500)
    assert "KeyError" in told
    assert "secret" not in told


def test_it_counts_its_requests(client, pictures):
    client.post("/embed", files=files(pictures[0]))
    text = client.get("/metrics").text
    assert 'triune_requests_total{method="POST",route="/embed",status="200"}' in text
    assert pictures[0].name not in text
