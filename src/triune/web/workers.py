"""Several processes that serve one address: each has the run and the gallery, and the system shares out connections."""

import os
import signal
import socket
import sys
import threading
import time
import urllib.request
from functools import partial
from typing import Any, Final

from uvicorn.supervisors import Multiprocess

from triune.parallel.started import STARTER, end_with_starter
from triune.signals import Stopped
from triune.web.app import application
from triune.web.measures import Measures
from triune.web.served import Served
from triune.web.serving import Opening, Service, configured, log_to_stderr

PATIENCE: Final = 60
"""Seconds in which a worker answers whether it is there: it imports torch meanwhile."""


def serve_by_workers(opening: Opening, service: Service, listening: socket.socket, url: str) -> None:
    """Serve in several processes until a signal comes; one that dies is started again.

    Args:
        opening: what each of them opens.
        service: how it is run.
        listening: the socket that they share.
        url: what is printed once one of them answers.

    Raises:
        Stopped: a signal came.
    """
    os.environ[STARTER] = str(os.getpid())
    config = configured(partial(application_of_worker, opening, service), service, workers=service.workers)
    supervisor = Workers(config, [listening])
    threading.Thread(target=tell_when_ready, args=(url, supervisor.should_exit), daemon=True).start()
    supervisor.run()
    raise Stopped(supervisor.came or signal.SIGTERM)


class Workers(Multiprocess):
    """uvicorn's supervisor of workers, which says which signal ended it."""

    came: int | None = None

    def handle_int(self) -> None:
        """Ctrl-C came."""
        self.came = signal.SIGINT
        super().handle_int()

    def handle_term(self) -> None:
        """SIGTERM came."""
        self.came = signal.SIGTERM
        super().handle_term()


def application_of_worker(opening: Opening, service: Service) -> Any:
    """The application of one worker, which ends when whoever started it is gone.

    Args:
        opening: what it opens.
        service: how it is run.
    """
    end_with_starter()
    log_to_stderr(service.log_requests)
    measures = Measures(str(os.getpid()))
    return application(Served(opening.content(), service.limits, measures.batch), service.access, measures)


def tell_when_ready(url: str, ended: threading.Event) -> None:
    """Print the address once the service answers there.

    Args:
        url: the address.
        ended: set when it is not to be waited for any more.
    """
    while not ended.is_set():
        try:
            with urllib.request.urlopen(f"{url}ready", timeout=PATIENCE):
                print(url, flush=True)
                print(f"serving; process {os.getpid()} has workers; Ctrl-C stops them", file=sys.stderr, flush=True)
                return
        except OSError:
            time.sleep(0.2)
