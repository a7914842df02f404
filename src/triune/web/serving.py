"""What the service opens, where it listens and who may ask there; how uvicorn runs it."""

import logging
import socket
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import uvicorn

from triune.errors import InputError
from triune.serving.gallery.gallery import Gallery
from triune.serving.loaded import load
from triune.web.guard import Access, is_loopback, require_token
from triune.web.idle import Impatient, close_unread
from triune.web.limits import Limits
from triune.web.served import Content, Try

GRACE: Final = 30
"""Seconds in which requests that are under way are answered, once the service is asked to stop."""

IDLE: Final = 30
"""Seconds that a connection may bring no request, or not all of its header."""

BACKLOG: Final = 256


@dataclass(frozen=True)
class Place:
    """Where the service listens.

    Args:
        host: an address of this machine.
        port: 0 for any that is free.
    """

    host: str = "127.0.0.1"
    port: int = 8000


@dataclass(frozen=True)
class Opening:
    """What the service opens.

    Args:
        run: a run, or ``timm:NAME``.
        gallery: a gallery.
        weights: of ``timm:NAME``.
        samples: images to try.
        demo: whether it is the demonstration.
    """

    run: str
    gallery: str | None = None
    weights: Path | None = None
    samples: Sequence[Try] = ()
    demo: bool = False

    def content(self) -> Content:
        """What is served.

        Raises:
            InputError: there is no such run or gallery, or another network made the gallery.
        """
        run = load(self.run, weights=self.weights)
        if self.gallery is not None and not run.dim:
            raise InputError(f"{run.name} has no embedding head, so that nothing can be searched: leave --gallery away")
        gallery = None if self.gallery is None else Gallery.open(self.gallery, run)
        if gallery is not None:
            _ = gallery.count  # it is read now, not when the first request comes
        return Content(run, gallery, self.samples, self.demo)


@dataclass(frozen=True)
class Service:
    """How the service is run.

    Args:
        place: where it listens.
        access: who may ask.
        limits: of requests.
        log_requests: whether each request is a line of the log: its route and status.
        workers: processes that serve.
    """

    place: Place = field(default_factory=Place)
    access: Access = field(default_factory=Access)
    limits: Limits = field(default_factory=Limits)
    log_requests: bool = False
    workers: int = 1


def check_access(place: Place, access: Access) -> None:
    """Refuse to listen where others reach without a token.

    Raises:
        InputError: there is none, or it is no token.
    """
    if access.token is not None:
        require_token(access.token)
    elif not is_loopback(place.host):
        raise InputError(
            f"--host {place.host} can be reached from other machines, so a token is needed: put one into a file "
            "(--token_file FILE) or into the environment variable TRIUNE_TOKEN, or listen on 127.0.0.1"
        )


def bound(place: Place) -> socket.socket:
    """A socket that listens there.

    Raises:
        InputError: there is no such address here.
        OSError: the port is in use, or may not be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise InputError(f"--host {place.host} is no address: {error.strerror}") from error
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        close_unread(listening)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        where = f"{place.host}:{place.port}; name another --port, or 0 for any that is free"
        raise OSError(error.errno, error.strerror, where) from error
    listening.set_inheritable(True)
    return listening


def url_of(listening: socket.socket) -> str:
    """Where a browser finds what a socket listens to."""
    host, port = listening.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}/"


def configured(app: Any, service: Service, workers: int = 1) -> uvicorn.Config:
    """uvicorn's settings.

    Args:
        app: the application; what makes it where there are several workers.
        service: how it is run.
        workers: processes that serve.
    """
    log_to_stderr(service.log_requests)
    return uvicorn.Config(
        app,
        factory=workers > 1,
        workers=workers,
        log_config=None,
        access_log=service.log_requests,
        timeout_graceful_shutdown=GRACE,
        timeout_keep_alive=IDLE,
        timeout_worker_healthcheck=60,
        backlog=BACKLOG,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        ws="none",
        http=Impatient,
    )


def log_to_stderr(requests: bool) -> None:
    """Log what goes wrong to standard error, and requests where that is wanted: routes and statuses, never content.

    Args:
        requests: whether it is.
    """
    # What strangers send that is no HTTP is told to them, and is no fault of the service: its log stays short.
    # What Pillow finds odd about a picture is told to whoever sent it, where it matters.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    levels = {"uvicorn": "ERROR", "uvicorn.access": "INFO" if requests else "CRITICAL", "triune.web": "INFO"}
    for name, level in levels.items():
        log = logging.getLogger(name)
        log.setLevel(level)
        log.handlers = [handler]
        log.propagate = False
