"""Two workers on one gallery: what one writes the other sees, none is lost, one that dies is replaced."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from uvicorn.supervisors.multiprocess import SIGNALS

import triune
from triune.web.serving import Opening, Service
from triune.web.workers import Workers, application_of_worker, tell_when_ready
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


@pytest.mark.parametrize(
    ("number", "handler"),
    [(signal.SIGINT, "handle_int"), (signal.SIGTERM, "handle_term"), (signal.SIGHUP, "handle_hup")],
)
def test_the_signal_that_ends_the_workers_is_known(number, handler):
    before = {each: signal.getsignal(each) for each in SIGNALS}
    supervisor = Workers(uvicorn.Config(lambda: None, workers=2), [])
    for each, own in before.items():
        signal.signal(each, own)
    assert supervisor.came is None
    getattr(supervisor, handler)()
    assert supervisor.came == number
    assert supervisor.should_exit.is_set()


SUPERVISED = """
import asyncio, os, sys

async def app(scope, receive, send):
    if scope["path"] == "/hang":
        await asyncio.sleep(600)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})

if __name__ == "__main__":
    import socket, uvicorn
    from triune.web.serving import log_to_stderr
    from triune.web.workers import Workers
    log_to_stderr(False)
    listening = socket.create_server(("127.0.0.1", 0))
    listening.set_inheritable(True)
    how = {"workers": 2, "log_config": None, "lifespan": "off", "ws": "none", "timeout_worker_healthcheck": 600}
    supervisor = Workers(uvicorn.Config("supervised:app", **how), [listening])
    print(listening.getsockname()[1], flush=True)
    supervisor.run()
    print(supervisor.came, flush=True)
"""


@contextmanager
def supervised(folder):
    """Two workers of a small application, in a process of their own; it, its port, and its log."""
    (folder / "supervised.py").write_text(SUPERVISED)
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, str(folder / "supervised.py")], stdout=subprocess.PIPE, stderr=log, text=True, env=env
        )
    try:
        yield process, int(process.stdout.readline()), folder / "log"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def who_answers(port, seconds=120):
    """The two workers, once both have answered."""
    until, seen = time.monotonic() + seconds, set()
    while len(seen) < 2 and time.monotonic() < until:
        with contextlib.suppress(httpx.TransportError):
            seen.add(int(httpx.get(f"http://127.0.0.1:{port}/", timeout=60).text))
    return seen


def test_a_worker_that_dies_while_it_is_asked_for_its_health_is_replaced_and_named(tmp_path):
    """It is held until it is asked, as one is whose memory the system takes its time to free."""
    with supervised(tmp_path) as (process, port, log):
        workers = who_answers(port)
        gone = min(workers)
        os.kill(gone, signal.SIGSTOP)
        time.sleep(1.5)  # the supervisor asks every half second, and waits for the answer now
        os.kill(gone, signal.SIGKILL)
        until = time.monotonic() + 60  # a tenth of the patience for a slow worker
        while f"worker {gone} ended (killed by signal 9): worker" not in log.read_text():
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        hanging = socket.create_connection(("127.0.0.1", port))
        hanging.sendall(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        time.sleep(1.5)
        assert process.poll() is None  # it waits for the request
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert process.stdout.read() == f"{int(signal.SIGTERM)}\n"
        hanging.close()


def test_a_worker_that_cannot_open_what_it_serves_says_so_in_one_line(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("triune.web.workers.end_with_starter", lambda: None)
    with pytest.raises(SystemExit) as ended:
        application_of_worker(Opening(str(tmp_path / "gone")), Service())
    assert ended.value.code == 1
    told = capfd.readouterr().err
    assert "a worker cannot open what it serves: " in told
    assert told.count("\n") == 1


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
    assert f"worker {gone} ended (killed by signal 9)" in told
    assert told.endswith("triune: interrupted\n")
    assert "Traceback" not in told
    rows = triune.Gallery.open(place).rows()
    assert sorted(rows["identity"].to_list())[9:] == sorted(f"new {number}" for number in range(1, ENROLMENTS))
    for worker in replaced:
        assert not os.path.exists(f"/proc/{worker}")
