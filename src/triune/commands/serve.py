"""`triune serve`: a run, and a gallery, as an HTTP service with a page."""

import os
from dataclasses import field
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from triune.commands.common import command
from triune.errors import InputError
from triune.web.limits import Limits

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
    limits: Limits = field(default_factory=Limits)


def run(arguments: list[str]) -> int:
    """Serve a run until a signal comes."""
    asked = command("serve", ServeConfig, words=("run",)).parse(arguments)
    if asked.run is None:
        raise InputError("name a run: `triune serve RUN`, or --demo for that of `triune demo`")
    from triune.web.guard import Access
    from triune.web.server import Opening, Place, Service, serve

    access = Access(token_of(asked.token, asked.token_file), asked.hosts, asked.origins)
    opening = Opening(asked.run, asked.gallery, asked.weights)
    return serve(opening, Service(Place(asked.host, asked.port), access, asked.limits, asked.log_requests))


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
