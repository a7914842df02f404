"""The client's connections to a service: what its address may be, and that no two processes share a connection."""

import ipaddress
import os
import re
import urllib.request
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from triune.errors import InputError
from triune.files import on_one_line

if TYPE_CHECKING:
    import httpx

ENVIRONMENT: Final = "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR"
"""Variables by which the environment says how services are reached."""


class Connections:
    """The connections of a client, which each process has for itself.

    A process that forks leaves its sockets to its child. Two processes that read from one would take each other's
    answers, so that a child opens its own.

    Args:
        make: opens some.

    Raises:
        InputError: they cannot be opened.
    """

    def __init__(self, make: "Callable[[], httpx.Client]") -> None:
        self._make = make
        self._of_process = {os.getpid(): make()}
        self._closed = False

    def here(self) -> "httpx.Client":
        """Those of this process.

        Raises:
            InputError: they were closed, or cannot be opened.
        """
        if self._closed:
            raise InputError("the client was closed: make another triune.Client")
        process = os.getpid()
        # Of threads that come here together one opens them for all.
        return self._of_process.get(process) or self._of_process.setdefault(process, self._make())

    def close(self) -> None:
        """Close those of this process; none can be had any more."""
        self._closed = True
        own = self._of_process.get(os.getpid())
        if own is not None:
            own.close()


def address_of(url: object, token: str | None) -> "httpx.URL":
    """The address of a service.

    Args:
        url: as it was given.
        token: that goes with it.

    Raises:
        InputError: it is none, holds what no address of a service holds, or holds a password beside the token.
    """
    import httpx

    shown = re.sub(r"(?<=//)[^/]*@", "…@", repr(url))  # a password may stand there
    try:
        address = httpx.URL(str(url).strip().rstrip("/"))
    except (httpx.InvalidURL, TypeError, ValueError) as error:
        raise InputError(f"{shown} is no address ({error}): write it as http://HOST:PORT") from error
    if address.scheme not in ("http", "https") or not address.host:
        raise InputError(f"{shown} is no address of a service: write it as http://HOST:PORT")
    if address.query or address.fragment:
        raise InputError(f"{without_password(address)} goes on after the path: leave away what follows ? or #")
    if address.userinfo and token is not None:
        # Both would be sent in the same header, so that one of them would be lost without a word.
        raise InputError(f"{without_password(address)} was given with a user and a token: leave one of them away")
    return address


def without_password(address: "httpx.URL") -> str:
    """An address as it may be shown."""
    return str(address.copy_with(username=None, password=None)) if address.userinfo else str(address)


def opened(address: "httpx.URL", headers: dict[str, str], timeout: float) -> "httpx.Client":
    """Connections to a service; none is made before it is needed.

    A service on this machine is asked directly, whatever proxy the environment names: it could not reach it, and would
    see the pictures and the token.

    Args:
        address: of the service.
        headers: that go with each request.
        timeout: seconds that it may take to accept a connection, to take a part of a request, and to send one.

    Raises:
        InputError: what the environment says of proxies or certificates cannot be used.
    """
    import httpx

    host = f"[{address.host}]" if ":" in address.host else address.host
    directly = {f"all://{host}": None} if is_here(address.host) else None
    try:
        # A redirect is not followed: it would hand pictures to another address than the one that was named.
        return httpx.Client(base_url=address, headers=headers, timeout=timeout, follow_redirects=False, mounts=directly)
    except (httpx.InvalidURL, ImportError, OSError, ValueError) as error:
        raise InputError(
            f"what the environment says of proxies or certificates cannot be used ({on_one_line(str(error))}): look at "
            f"{ENVIRONMENT}"
        ) from error


def is_here(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def by_proxy(address: "httpx.URL") -> bool:
    """Whether the environment names a proxy for an address."""
    proxies = urllib.request.getproxies()
    named = proxies.get(address.scheme) or proxies.get("all")
    return bool(named) and not is_here(address.host) and not urllib.request.proxy_bypass(address.host)
