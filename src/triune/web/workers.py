"""Several processes that serve one address: each has the run and the gallery, and the system shares out connections."""

import logging
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

from triune.errors import InputError
from triune.files import on_one_line
from triune.parallel.started import STARTER, end_with_starter
from triune.signals import Stopped
from triune.web.app import application
from triune.web.measures import Measures
from triune.web.served import Served
from triune.web.serving import Opening, Service, configured, log_to_stderr

LOG = logging.getLogger("triune.web")

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
        OSError: the workers could not start.
    """
    os.environ[STARTER] = str(os.getpid())
    config = configured(partial(application_of_worker, opening, service), service, workers=service.workers)
    supervisor = Workers(config, [listening])
    threading.Thread(target=tell_when_ready, args=(url, supervisor.should_exit), daemon=True).start()
    supervisor.run()
    if supervisor.came is None:
        raise OSError("the workers could not start: what stands above says why")
    raise Stopped(supervisor.came)


class Workers(Multiprocess):
    """uvicorn's supervisor of workers, which says which signal ended it, and which worker died."""

    came: int | None = None

    def handle_int(self) -> None:
        """Ctrl-C came."""
        self.came = signal.SIGINT
        super().handle_int()

    def handle_term(self) -> None:
        """SIGTERM came."""
        self.came = signal.SIGTERM
        super().handle_term()

    def handle_hup(self) -> None:
        """The terminal was closed: it ends the service, as it ends one without workers."""
        self.came = signal.SIGHUP
        self.should_exit.set()

    def keep_subprocess_alive(self) -> None:
        """Start another worker for each that died, and say so."""
        before = list(self.processes)
        for each in before:
            # Each worker holds its end of what it is asked by. As long as this process holds it, too, a worker that
            # dies while it is asked looks as if it took its time, and is replaced after the patience for a slow one.
            each.child_conn.close()
        super().keep_subprocess_alive()
        for old, new in zip(before, self.processes, strict=False):
            if new is not old:
                LOG.error("worker %s ended (%s): worker %s was started", old.pid, _how(old.exitcode), new.pid)

    def join_all(self) -> None:
        """Wait for the workers to end; one more signal ends them at once."""
        for each in self.processes:
            while each.process.is_alive():
                each.process.join(0.2)
                if self.signal_queue:
                    each.process.kill()


def _how(code: int | None) -> str:
    """How a process ended, in words."""
    return f"killed by signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def application_of_worker(opening: Opening, service: Service) -> Any:
    """The application of one worker, which ends when whoever started it is gone.

    Args:
        opening: what it opens.
        service: how it is run.
    """
    end_with_starter()
    log_to_stderr(service.log_requests)
    measures = Measures(str(os.getpid()))
    try:
        content = opening.content()
    except (InputError, OSError) as error:  # it could be opened when the service began
        LOG.error("a worker cannot open what it serves: %s", on_one_line(str(error)))
        sys.exit(1)
    return application(Served(content, service.limits, measures.batch, service.workers), service.access, measures)


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
