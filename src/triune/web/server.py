"""The service as a process: it opens what it serves, says where it is once it answers, and ends in order."""

import os
import socket
import sys
from types import FrameType

import uvicorn

from triune.web.app import application
from triune.web.measures import Measures
from triune.web.served import Served
from triune.web.serving import Opening, Service, bound, check_access, configured, url_of
from triune.web.workers import serve_by_workers


def serve(opening: Opening, service: Service) -> int:
    """Serve until a signal comes; requests that are under way then are answered.

    Args:
        opening: what is served.
        service: how.

    Raises:
        InputError, OSError: it cannot be opened, or cannot listen there.
        Stopped: a signal came.
    """
    check_access(service.place, service.access)
    listening = bound(service.place)
    url = url_of(listening)
    content = opening.content()
    if service.workers > 1:
        del content  # each worker opens its own; what is wrong was told by now
        serve_by_workers(opening, service, listening, url)
    else:
        measures = Measures()
        served = Served(content, service.limits, measures.batch)
        _Server(configured(application(served, service.access, measures), service), url).run(sockets=[listening])
    return 0


class _Server(uvicorn.Server):
    """Says where it is, once it answers."""

    def __init__(self, config: uvicorn.Config, url: str) -> None:
        super().__init__(config)
        self._url = url

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal came: requests that are under way are answered, unless a second one comes."""
        self.force_exit = self.should_exit
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(self._url, flush=True)
            print(f"serving in process {os.getpid()}; Ctrl-C stops it", file=sys.stderr, flush=True)
