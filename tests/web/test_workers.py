"""Two workers on one gallery: what one writes the other sees, none is lost, one that dies is replaced."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import uvicorn
from uvicorn.supervisors.multiprocess import SIGNALS

import triune
from triune.web.workers import Workers, tell_when_ready
from web.conftest import files, indexed, running

ENROLMENTS = 12


def asked_until(found, what, seconds=120):
    """Ask on a new connection each time, which either worker may take, until something holds; what it was."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            value = what(httpx.get(f"{found.url}/metrics", timeout=60).text)
        except httpx.TransportError:
            value = None
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(found.log.read_text())


def worker_of(text):
    """Whose counters these are; None before it has answered anything."""
    return text.partition('worker="')[2].partition('"')[0] or None


def both(found, other_than=()):
    """The process numbers of the two workers, once both have answered."""
    seen = set()

    def two(text):
        seen.update({worker_of(text)} - {None, *other_than})
        return seen if len(seen) == 2 else None

    return asked_until(found, two)


def test_the_address_is_told_once_it_answers_and_not_where_the_service_ended(capsys):
    ended = threading.Event()
    ended.set()
    tell_when_ready("http://127.0.0.1:9/", ended)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("number", "handler"), [(signal.SIGINT, "handle_int"), (signal.SIGTERM, "handle_term")])
def test_the_signal_that_ends_the_workers_is_known(number, handler):
    before = {each: signal.getsignal(each) for each in SIGNALS}
    supervisor = Workers(uvicorn.Config(lambda: None, workers=2), [])
    for each, own in before.items():
        signal.signal(each, own)
    assert supervisor.came is None
    getattr(supervisor, handler)()
    assert supervisor.came == number
    assert supervisor.should_exit.is_set()


@pytest.mark.slow
def test_two_workers_enrol_into_one_gallery_and_one_that_is_killed_is_replaced(served_run, tmp_path, pictures):
    place = indexed(served_run, tmp_path / "G")
    with running(tmp_path, served_run, "--gallery", place, "--workers", 2) as found:
        workers = both(found)

        def enrol(number):
            sent = {"identity": f"new {number}", "key": f"number-{number:02d}"}
            return httpx.post(f"{found.url}/enrol", files=files(pictures[number]), data=sent, timeout=60).status_code

        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(enrol, range(ENROLMENTS))) == {200}
        for _ in range(8):  # whichever of them answers
            listed = httpx.get(f"{found.url}/enrol", timeout=60).json()["enrolments"]
            assert len(listed) == ENROLMENTS
        assert httpx.delete(f"{found.url}/enrol/number-00", timeout=60).json()["removed"] == 1
        for _ in range(8):
            sent = {"k": "1"}
            hits = httpx.post(f"{found.url}/search", files=files(pictures[0]), data=sent, timeout=60).json()
            assert hits["results"][0]["hits"][0]["identity"] == "id9"
        gone = workers.pop()
        os.kill(int(gone), signal.SIGKILL)
        replaced = both(found, other_than={gone})
        assert workers < replaced
        found.process.send_signal(signal.SIGINT)
        assert found.process.wait(60) == 128 + signal.SIGINT
    told = found.log.read_text()
    assert told.endswith("triune: interrupted\n")
    assert "Traceback" not in told
    rows = triune.Gallery.open(place).rows()
    assert sorted(rows["identity"].to_list())[9:] == sorted(f"new {number}" for number in range(1, ENROLMENTS))
    for worker in replaced:
        assert not os.path.exists(f"/proc/{worker}")
