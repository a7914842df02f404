"""Where the service listens and who may ask there."""

import base64
import signal
from pathlib import Path

import httpx
import pytest

import triune
from commands.running import ran, refused
from triune.errors import InputError
from triune.web.guard import Access
from triune.web.serving import Place, bound, check_access, url_of
from web.conftest import running


def files(*paths, field="images"):
    return [(field, (path.name, path.read_bytes(), "image/png")) for path in paths]


def test_a_verdict_is_that_of_the_run_in_python(http, served_run, pictures):
    first, second = pictures[0], pictures[7]
    answer = http.post("/verify", files=[*files(first, field="first"), *files(second, field="second")])
    here = triune.load(served_run, device="cpu").verify(first, second).to_dict()
    assert answer.status_code == 200
    unfamiliar = [Path(name).name for name in here["unfamiliar"]]
    assert answer.json() == here | {"first": first.name, "second": second.name, "unfamiliar": unfamiliar}


def test_images_in_json_are_answered_alike(http, pictures):
    sent = {key: base64.b64encode(path.read_bytes()).decode() for key, path in zip(("first", "second"), pictures)}
    form = http.post("/verify", files=[*files(pictures[0], field="first"), *files(pictures[1], field="second")]).json()
    called = {pictures[0].name: "image 0", pictures[1].name: "image 1"}
    named = {"first": "image 0", "second": "image 1", "unfamiliar": [called[name] for name in form["unfamiliar"]]}
    assert http.post("/verify", json=sent).json() == form | named


def test_sigterm_ends_it_as_the_house_says_and_nothing_of_a_request_is_in_its_log(served_run, tmp_path, pictures):
    with running(tmp_path, served_run, "--log_requests") as found:
        assert httpx.post(f"{found.url}/embed", files=files(pictures[0])).status_code == 200
        found.process.send_signal(signal.SIGTERM)
        assert found.process.wait(30) == 128 + signal.SIGTERM
    told = found.log.read_text()
    assert '"POST /embed HTTP/1.1" 200' in told
    assert told.endswith("triune: terminated\n")
    assert pictures[0].name not in told


def test_a_port_in_use_is_one_line_before_anything_is_loaded(capsys, tmp_path):
    other = bound(Place(port=0))
    port = other.getsockname()[1]
    code, out, err = ran(capsys, "serve", tmp_path / "none", "--port", port)
    other.close()
    assert (code, out) == (1, "")
    where = f"127.0.0.1:{port}; name another --port, or 0 for any that is free"
    assert err == f"triune: Address already in use: {where}\n"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "example.org", ""])
def test_an_address_that_others_reach_needs_a_token(host):
    with pytest.raises(InputError, match="TRIUNE_TOKEN"):
        check_access(Place(host), Access())
    check_access(Place(host), Access("0123456789abcdef"))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1"])
def test_loopback_needs_none(host):
    check_access(Place(host), Access())


@pytest.mark.parametrize("token", ["", "short", "has a space in the middle", "ünïcödé-letters-are-none"])
def test_a_token_that_is_guessed_or_cannot_be_sent_is_refused(token):
    with pytest.raises(InputError, match="at least 16 characters"):
        check_access(Place(), Access(token))


def test_the_token_is_needed_before_the_run_is_loaded(capsys, tmp_path):
    assert "so a token is needed" in refused(capsys, "serve", tmp_path / "none", "--host", "0.0.0.0")


def test_the_address_is_one_that_a_browser_takes():
    listening = bound(Place("0.0.0.0", 0))
    assert url_of(listening) == f"http://127.0.0.1:{listening.getsockname()[1]}/"
    listening.close()
