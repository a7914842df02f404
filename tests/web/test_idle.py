"""Connections that bring no request are closed, whatever they send instead; those that ask are left alone."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest
import uvicorn

from triune.web.idle import MOST_HEADER, UNREAD, Impatient, close_unread

IDLE = 0.3
"""Seconds that a connection may be idle here."""

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"


async def app(scope, receive, send):
    """Answers after a while; of POST before the body has come."""
    await asyncio.sleep(0 if scope["method"] == "POST" else 3 * IDLE)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def served(**how):
    """A server, and its port."""
    config = uvicorn.Config(
        app,
        port=0,
        log_level="critical",
        lifespan="off",
        timeout_keep_alive=IDLE,
        ws="none",
        **{"http": Impatient, **how},
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        await running


def finished(coroutine):
    """What a coroutine gives, in a thread of its own: a browser of other tests may have a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def answered(*parts, pause=0.1, wait=6.0, **how):
    """What a connection gets that sends parts with pauses, and whether it is closed then."""

    async def asking():
        async with served(**how) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            got = bytearray()

            async def read():
                while more := await reader.read(1 << 16):
                    got.extend(more)

            reading = asyncio.create_task(read())
            with contextlib.suppress(ConnectionError):
                for part in parts:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(pause)
            done, _ = await asyncio.wait([reading], timeout=wait)
            reading.cancel()
            writer.transport.abort()
            return bytes(got), bool(done)

    return finished(asking())


SLOW = [bytes([each]) for each in GET[:-2]]
NEVER = [
    pytest.param([], id="nothing"),
    pytest.param([GET[:5]], id="half a line"),
    pytest.param([GET[:-2]], id="half a header"),
    pytest.param(SLOW, id="a header by and by"),
    pytest.param([b"\r\n"] * 20, id="empty lines"),
]


@pytest.mark.parametrize("parts", NEVER)
def test_a_connection_that_brings_no_request_is_closed(parts):
    assert answered(*parts) == (b"", True)


@pytest.mark.parametrize("parts", [pytest.param([GET[:5]], id="half a line")])
def test_uvicorn_alone_leaves_it_open(parts):
    """Else there would be nothing to mend any more."""
    assert answered(*parts, wait=5 * IDLE, http="auto") == (b"", False)


def test_h11_where_httptools_is_not_there_closes_it_too():
    """In a process of its own, since the class is chosen where uvicorn is imported."""
    code = (
        "import sys; sys.modules['httptools'] = None\n"
        "import web.test_idle as tests\n"
        "print(tests.Impatient.__mro__[1].__name__)\n"
        "for parts in ([], [tests.GET[:5]], tests.SLOW): print(tests.answered(*parts))\n"
        "got, closed = tests.answered(tests.GET + tests.GET)\n"
        "print(got.count(b'200 OK'), closed)\n"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert run.stdout.split("\n") == ["H11Protocol", *["(b'', True)"] * 3, "2 True", ""], run.stderr


def test_an_answer_that_takes_longer_is_waited_for_and_the_next_request_too():
    got, closed = answered(GET + GET)
    assert (got.count(b"200 OK"), closed) == (2, True)


def test_a_body_that_goes_on_after_its_answer_is_not_waited_for():
    got, closed = answered(POST, *[b"x"] * 12)
    assert (got.count(b"200 OK"), closed) == (1, True)


def test_a_header_that_does_not_end_is_not_kept_in_memory():
    endless = GET[:-2] + b"X: "
    got, closed = answered(endless, *[b"a" * (MOST_HEADER // 4)] * 6, pause=0)
    assert (b"200 OK" in got, closed) == (False, True)


def test_a_large_body_is_no_header():
    body = b"x" * (3 * MOST_HEADER)
    post = f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    got, _ = answered(post, body[:-1], body[-1:], post, body, pause=0.05)
    assert got.count(b"200 OK") == 2


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this system has no such limit")
def test_connections_inherit_the_limit_on_answers_that_nobody_reads():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        close_unread(listening)
        with socket.create_connection(listening.getsockname()), listening.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == UNREAD * 1000
