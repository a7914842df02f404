"""Requests: sent again exactly where that is safe, and every failure is one line."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from triune.errors import InputError
from triune.web import sending
from triune.web.sending import Refusal, sender
from web.faked import URL, Faked, said

REFUSED = httpx.ConnectError("refused")
BROKEN = httpx.ReadError("reset by peer")


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """How long it would have waited."""
    found = []
    monkeypatch.setattr(sending.time, "sleep", found.append)
    return found


@pytest.mark.parametrize("failure", [REFUSED, BROKEN, said(503, {"Retry-After": "0"}, error="busy")])
@pytest.mark.parametrize("times", [1, 3])
def test_a_request_is_sent_again_until_it_is_answered(failure, times):
    fake = Faked(*[failure] * times, said(state="alive"))
    assert fake.sender(retries=3).json("GET", "health") == {"state": "alive"}
    assert len(fake.asked) == times + 1


@pytest.mark.parametrize("retries", [0, 2])
def test_it_gives_up_after_as_many_repetitions_as_were_asked_for(retries):
    fake = Faked(said(503, {"Retry-After": "1"}, error="the queue is full"))
    with pytest.raises(Refusal, match=r"^the queue is full$") as raised:
        fake.sender(retries).json("POST", "embed")
    assert (raised.value.status, len(fake.asked)) == (503, retries + 1)


def test_it_waits_at_least_as_long_as_the_service_asks_and_longer_each_time(waits):
    fake = Faked(*[said(503, {"Retry-After": "2"}, error="full")] * 2, *[REFUSED] * 2, said())
    fake.sender(retries=4).json("GET", "x")
    assert waits[:2] == [2, 2]
    assert 0.2 <= waits[2] <= 0.4
    assert 0.4 <= waits[3] <= 0.8


def test_a_date_to_wait_for_is_understood_and_a_long_wait_is_refused(waits):
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    Faked(said(503, {"Retry-After": soon}, error="full"), said()).sender().json("GET", "x")
    assert 15 < waits[0] <= 20
    with pytest.raises(Refusal, match="closed for today"):
        Faked(said(503, {"Retry-After": "3600"}, error="closed for today")).sender().json("GET", "x")
    assert len(waits) == 1


@pytest.mark.parametrize(
    ("failure", "again"),
    [
        (REFUSED, True),  # nobody was there to do anything
        (httpx.ConnectTimeout("slow"), True),
        (said(503, {"Retry-After": "0"}, error="full"), True),  # it was not begun
        (BROKEN, False),  # it may have been carried out
        (httpx.RemoteProtocolError("gone"), False),
        (httpx.ReadTimeout("slow"), False),
        (said(503, error="no network"), False),
        (said(500, error="a defect"), False),
    ],
)
def test_what_may_have_been_carried_out_is_not_sent_twice_unless_that_is_as_good_as_once(failure, again):
    fake = Faked(failure, said(done=1))
    if again:
        assert fake.sender().json("DELETE", "enrol/a", repeatable=False) == {"done": 1}
    else:
        with pytest.raises(Refusal):
            fake.sender().json("DELETE", "enrol/a", repeatable=False)
    assert len(fake.asked) == 1 + again


@pytest.mark.parametrize("status", [400, 401, 404, 409, 413, 415, 422, 500])
def test_an_error_of_the_service_is_its_one_line_and_never_sent_again(status):
    fake = Faked(said(status, error="a.jpg cannot be\nread", image=3))
    with pytest.raises(InputError) as raised:
        fake.sender().json("POST", "embed")
    assert str(raised.value) == "a.jpg cannot be\\nread"
    assert (raised.value.status, raised.value.image, len(fake.asked)) == (status, 3, 1)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(502, html="<h1>Bad gateway</h1>"), "answers 502 \\(Bad Gateway\\)"),
        (httpx.Response(413, text=""), "answers 413"),
        (httpx.Response(307, headers={"Location": "https://other.example/"}), "give the address that it leads to"),
        (httpx.Response(299, html="<p>"), "no service of Triune"),
        (httpx.Response(200, json=[1]), "no service of Triune"),
        (httpx.Response(200, text="[" * 100_000), "no service of Triune"),
        (httpx.Response(500, text="[" * 100_000), "answers 500"),
        (said(400, error=["no", "line"]), "answers 400"),
        (httpx.ReadTimeout("slow"), "does not answer in time: give a longer timeout"),
        (REFUSED, "cannot be reached \\(refused\\): is `triune serve` running there"),
        (BROKEN, "broke off \\(reset by peer\\)"),
    ],
)
def test_what_is_no_answer_of_the_service_is_told_with_its_address(answer, words):
    with pytest.raises(InputError, match=words) as raised:
        Faked(answer).sender().json("POST", "embed")
    assert str(raised.value).startswith(URL)
    assert "\n" not in str(raised.value)


def test_an_image_is_one_or_what_answers_is_no_service_of_triune():
    assert Faked(httpx.Response(200, content=b"x", headers={"Content-Type": "image/jpeg"})).sender().image("a") == b"x"
    with pytest.raises(InputError, match="no service of Triune: what it answers to a is no image"):
        Faked(httpx.Response(200, html="<p>")).sender().image("a")


def test_a_redirect_is_not_followed_so_that_nothing_is_sent_to_another_address():
    fake = Faked(httpx.Response(307, headers={"Location": "https://other.example/"}))
    with pytest.raises(InputError):
        fake.sender(token="secret").json("GET", "about")
    assert [each.url.host for each in fake.asked] == ["service.example"]


def test_the_token_goes_in_the_header_and_a_path_of_a_proxy_is_kept():
    fake = Faked(said())
    fake.sender(token="s3cret", url="https://example.org/triune/").json("GET", "about")
    (asked,) = fake.asked
    assert asked.headers["Authorization"] == "Bearer s3cret"
    assert str(asked.url) == "https://example.org/triune/about"


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "schlüssel", b"bytes", 5])
def test_a_token_that_no_header_holds_is_refused_and_not_shown(token):
    with pytest.raises(InputError, match="the token") as raised:
        sender(URL, token, 5, 0)
    assert not token or str(token) not in str(raised.value)


@pytest.mark.parametrize("url", ["", "localhost:8000", "127.0.0.1", "ftp://a", "http://", "http://a:port", None])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(InputError, match="write it as http://HOST:PORT"):
        sender(url, None, 5, 0)


@pytest.mark.parametrize(
    ("timeout", "retries"),
    [(0, 1), (-1, 1), (float("inf"), 1), (1e10, 1), (float("nan"), 1), ("5", 1), (5, -1), (5, 1.5)],
)
def test_times_and_counts_that_cannot_be_are_refused(timeout, retries):
    with pytest.raises(InputError, match=r"^(timeout|retries) is "):
        sender(URL, None, timeout, retries)


def test_without_httpx_it_says_what_to_install():
    code = (
        "import sys; sys.modules['httpx'] = None\n"
        "from triune.web.sending import sender\n"
        "try: sender('http://a', None, 5, 0)\n"
        "except ValueError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip().endswith("pip install 'triune[client]'")
