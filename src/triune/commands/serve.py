"""`triune serve`: a run, and a gallery, as an HTTP service with a page."""

import os
import sys
from contextlib import redirect_stdout
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from triune.commands import demo
from triune.commands.common import command
from triune.errors import InputError
from triune.ranges import PositiveInt
from triune.web.limits import Limits

if TYPE_CHECKING:
    from triune.web.serving import Opening

Port = Annotated[int, Field(ge=0, le=65535)]


@dataclass(frozen=True)
class ServeConfig:
    """What `triune serve` serves, and where.

    Args:
        run: a run folder, or timm:NAME.
        gallery: a folder or URL that `triune index` wrote by the same run. It can be searched, and people enrolled.
        host: the address to listen on. Other machines reach all but 127.0.0.1, and then a token is needed.
        port: the port to listen on. 0 takes any that is free; the address is printed.
        token: what requests must bring as "Authorization: Bearer TOKEN". Others see it among the processes of this
            machine. The environment variable TRIUNE_TOKEN, or a file, tells it to nobody.
        token_file: a file that holds the token.
        hosts: further names that a service without a token may be called by.
        origins: sites whose pages may ask, such as https://example.org.
        weights: a local file of the weights of timm:NAME.
        log_requests: log each request. Its route and status are logged, never what was sent.
        workers: processes that serve. Each has the run and the gallery in memory, and counts for itself in /metrics.
        demo: serve the run of `triune demo`, with a gallery of its test images and some to try. It is trained where
            it is not there.
        limits: of requests.
    """

    run: str | None = None
    gallery: str | None = None
    host: str = "127.0.0.1"
    port: Port = 8000
    token: str | None = None
    token_file: Path | None = None
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    weights: Path | None = None
    log_requests: bool = False
    workers: PositiveInt = 1
    demo: bool = False
    limits: Limits = field(default_factory=Limits)


def run(arguments: list[str]) -> int:
    """Serve a run until a signal comes."""
    asked = command("serve", ServeConfig, words=("run",)).parse(arguments)
    if asked.demo and (asked.run is not None or asked.gallery is not None):
        raise InputError("--demo serves the run and the gallery of the demonstration: leave others away")
    if asked.run is None and not asked.demo:
        raise InputError("name a run: `triune serve RUN`, or --demo for that of `triune demo`")
    token = token_of(asked.token, asked.token_file)
    from triune.web.guard import Access
    from triune.web.server import serve
    from triune.web.serving import Place, Service, check_access

    place, access = Place(asked.host, asked.port), Access(token, asked.hosts, asked.origins)
    check_access(place, access)
    return serve(opening_of(asked), Service(place, access, asked.limits, asked.log_requests, asked.workers))


def opening_of(asked: ServeConfig) -> "Opening":
    """What is to be opened; the demonstration is made where it is not there."""
    from triune.web.serving import Opening

    if not asked.demo:
        assert asked.run is not None
        return Opening(asked.run, asked.gallery, asked.weights)
    from triune.web.demo import demo_gallery, demo_items, demo_run, demo_samples

    run = demo_run()
    if run is None:
        print("there is no run of `triune demo` in runs/ yet: it is trained first", file=sys.stderr, flush=True)
        with redirect_stdout(sys.stderr):  # standard output is for the address alone
            demo.run([])
        run = demo_run()
        if run is None:
            raise InputError("`triune demo` left no run in runs/: run it by itself, and see what it says")
    items = demo_items()
    return Opening(str(run), str(demo_gallery(run, items)), None, demo_samples(items), True)


def token_of(token: str | None, file: Path | None) -> str | None:
    """The token: of the flag, of the file, or of the environment variable TRIUNE_TOKEN.

    Raises:
        InputError: the file cannot be read, or two are given.
    """
    if token is not None and file is not None:
        raise InputError("--token and --token_file are both given: leave one away")
    if file is not None:
        from triune.files import regular_file

        try:
            return regular_file(file).read_text(encoding="utf-8").strip()
        except UnicodeDecodeError as error:
            raise InputError(f"{file} holds no token: it is no UTF-8 text") from error
    return token if token is not None else os.environ.get("TRIUNE_TOKEN") or None
