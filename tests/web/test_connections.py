"""Connections: addresses that hold no secret where they are shown, none shared between processes, none by detours."""

import multiprocessing
import os
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import numpy as np
import pytest

import triune
from triune.errors import InputError
from triune.web.connections import Connections, address_of, by_proxy, is_here, opened, without_password
from triune.web.sending import sender

VARIABLES = [one for name in ("HTTP", "HTTPS", "ALL", "NO") for one in (f"{name}_PROXY", f"{name.lower()}_proxy")] + [
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
]


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """An environment that says nothing of proxies."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


class Echoing(BaseHTTPRequestHandler):
    """Answers the path that it was asked for."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = f'{{"asked": "{self.path}"}}'.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def echo():
    """A service that echoes, and its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Echoing) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_port}"
        found.shutdown()


def test_a_forked_process_has_connections_of_its_own_and_the_parent_keeps_its():
    with echo() as url:
        asking = sender(url, None, 10, 0)
        asking.json("GET", "before")  # there is a connection now, which both would use
        mine = asking.connections.here()
        context = multiprocessing.get_context("fork")
        told = context.SimpleQueue()

        def child():
            told.put((asking.json("GET", f"of-{os.getpid()}"), asking.connections.here() is mine))

        process = context.Process(target=child)
        process.start()
        process.join(30)
        assert process.exitcode == 0
        assert told.get() == ({"asked": f"/of-{process.pid}"}, False)
        assert asking.connections.here() is mine
        assert asking.json("GET", "after") == {"asked": "/after"}


def test_threads_of_a_process_share_one_pool():
    with echo() as url:
        asking = sender(url, None, 10, 0)
        found = []
        threads = [threading.Thread(target=lambda: found.append(asking.connections.here())) for _ in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert len({id(each) for each in found}) == 1


def test_a_client_that_was_closed_says_so_wherever_it_is_used():
    client = triune.Client("http://127.0.0.1:9")
    client.close()
    client.close()
    for use in (client.about, client.ready, lambda: client.embed(np.zeros((4, 4, 3), np.uint8)), lambda: client.dim):
        with pytest.raises(InputError, match=r"^the client was closed: make another triune\.Client$"):
            use()


@pytest.mark.parametrize("url", ["http://me:hidden@127.0.0.1:9", "http://me:hidden@a:port", "ftp://me:hidden@a"])
def test_a_password_in_an_address_is_shown_nowhere(url):
    try:
        client = triune.Client(url, retries=0)
    except InputError as error:
        said = [str(error)]
    else:
        with pytest.raises(InputError) as raised:
            client.about()
        said = [repr(client), str(raised.value)]
    assert not any("hidden" in each for each in said)


def test_a_user_and_a_token_are_one_too_many():
    with pytest.raises(InputError, match=r"^http://127\.0\.0\.1:9 was given with a user and a token") as raised:
        triune.Client("http://me:hidden@127.0.0.1:9", token="s" * 20)
    assert "hidden" not in str(raised.value)
    assert address_of("http://me:hidden@a", None).userinfo == b"me:hidden"


@pytest.mark.parametrize("url", ["http://a?b=c", "http://a/b#c"])
def test_an_address_ends_with_its_path(url):
    with pytest.raises(InputError, match="leave away what follows"):
        address_of(url, None)


@pytest.mark.parametrize("url", ["http://a/", "http://a//", " http://a\n", "http://a"])
def test_blanks_around_an_address_and_slashes_after_it_mean_nothing(url):
    assert without_password(address_of(url, None)) == "http://a"


@pytest.mark.parametrize(("name", "value"), [("HTTP_PROXY", "http://127.0.0.1:9"), ("ALL_PROXY", "http://127.0.0.1:9")])
def test_a_service_on_this_machine_is_asked_without_the_environment_s_proxy(bare, name, value):
    bare.setenv(name, value)  # where nobody listens
    with echo() as url:
        assert sender(url, None, 10, 0).json("GET", "about") == {"asked": "/about"}


def test_another_machine_is_asked_by_the_proxy_which_is_named_where_it_fails(bare):
    with echo() as proxy:
        bare.setenv("HTTP_PROXY", proxy)
        assert sender("http://elsewhere.invalid", None, 10, 0).json("GET", "about") == {
            "asked": "http://elsewhere.invalid/about"
        }
    bare.setenv("HTTP_PROXY", "http://me:hidden@127.0.0.1:9")
    with pytest.raises(InputError, match="cannot be reached by the proxy that the environment names") as raised:
        sender("http://elsewhere.invalid", None, 10, 0).json("GET", "about")
    assert "hidden" not in str(raised.value)


def test_a_proxy_that_is_not_asked_is_not_blamed(bare):
    bare.setenv("HTTP_PROXY", "http://proxy.invalid")
    bare.setenv("NO_PROXY", "elsewhere.invalid")
    assert [by_proxy(httpx.URL(f"http://{host}")) for host in ("a.invalid", "elsewhere.invalid", "[::1]")] == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALL_PROXY", "gopher://a"),
        ("HTTPS_PROXY", "http://me:hidden@a:port"),
        ("SSL_CERT_FILE", "/nowhere/at/all"),
        ("NO_PROXY", "[::1"),
    ],
)
def test_an_environment_that_cannot_be_used_is_named_and_no_password_shown(bare, name, value):
    bare.setenv(name, value)
    with pytest.raises(InputError, match=rf"the environment .* cannot be used .*{name}") as raised:
        triune.Client("http://127.0.0.1:9")
    assert "hidden" not in str(raised.value)


def test_this_machine_is_known_by_its_addresses_and_its_name():
    assert [is_here(each) for each in ("127.0.0.1", "127.8.8.8", "::1", "localhost")] == [True] * 4
    assert [is_here(each) for each in ("10.0.0.1", "::2", "localhost.example", "0.0.0.0")] == [False] * 4


def test_connections_that_cannot_be_opened_are_an_error_when_the_client_is_made(bare):
    bare.setenv("ALL_PROXY", "gopher://a")
    with pytest.raises(InputError):
        Connections(lambda: opened(httpx.URL("http://a"), {}, 5.0))
