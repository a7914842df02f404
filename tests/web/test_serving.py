"""Where the service listens and who may ask there."""

import pytest

from commands.running import ran, refused
from triune.errors import InputError
from triune.web.guard import Access
from triune.web.serving import Place, bound, check_access, url_of


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
