"""A request to the service: sent again where that is safe, and answered or refused in one line."""

import random
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from triune.errors import InputError
from triune.files import on_one_line
from triune.ranges import is_number, is_whole
from triune.web.connections import Connections, address_of, by_proxy, opened, without_password

if TYPE_CHECKING:
    import httpx

Upload: TypeAlias = tuple[str, tuple[str, bytes, str]]
"""A file of a form: the field, and its name, content and type."""

FIRST_WAIT: Final = 0.1
"""Seconds before the first repetition; each further one waits twice as long."""

LONGEST_TIMEOUT: Final = 86_400
"""Seconds: a day. Much longer ones are beyond what systems count."""

LONGEST_WAIT: Final = 30.0
"""Seconds. A service that asks for more is not waited for."""

BUSY: Final = 503
"""The service has not begun with the request, since too many are waiting."""


class Refusal(InputError):
    """The service refused a request, or could not answer it.

    Args:
        message: why, in one line.
        status: of HTTP; 0 where there was no answer.
        image: the place, in the request, of the image that it is about; ``None`` where it is about none.
    """

    def __init__(self, message: str, status: int = 0, image: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.image = image


@dataclass(frozen=True)
class Sender:
    """How requests are sent. Made by :func:`sender`.

    Args:
        connections: by which they are.
        url: of the service, as it may be shown.
        retries: how often a request is sent again.
    """

    connections: Connections
    url: str
    retries: int

    def ask(
        self,
        method: str,
        path: str,
        *,
        repeatable: bool = True,
        form: Mapping[str, str] | None = None,
        files: Sequence[Upload] = (),
        query: Mapping[str, str] | None = None,
    ) -> "httpx.Response":
        """The answer to a request.

        It is sent again, after a while, where the service is busy (503 with Retry-After), cannot be reached, or breaks
        the connection off. After the last of these, and after an answer that is too late, the request may have been
        carried out all the same, so that only a repeatable one is sent again.

        Args:
            method: GET, POST or DELETE.
            path: below the service's address.
            repeatable: whether twice is as good as once.
            form: fields of a form.
            files: what is uploaded.
            query: what follows the question mark.

        Raises:
            Refusal: the service refuses it, cannot be reached, or does not answer in time.
            InputError: the connections were closed.
        """
        import httpx

        http = self.connections.here()
        for turn in range(self.retries + 1):
            wait: float | None = None
            try:
                answer = http.request(method, path, data=form, files=list(files) or None, params=query)
            except httpx.TimeoutException as error:
                connecting = isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout)
                refusal = Refusal(f"{self.url} does not answer in time: give a longer timeout, or look at its load")
                wait = 0.0 if connecting else None
            except (httpx.TransportError, OSError) as error:
                refusal = Refusal(f"{self.url} {_unreachable(error, http)}: is `triune serve` running there?")
                wait = 0.0 if repeatable or isinstance(error, httpx.ConnectError) else None
                # A request that is refused before all of it was read (too large, say) breaks the connection off.
            except (httpx.InvalidURL, httpx.HTTPError, ValueError) as error:
                raise Refusal(f"{self.url}: {on_one_line(str(error))}") from error
            else:
                if answer.is_success:
                    return answer
                refusal = self._refusal(answer)
                wait = _asked_to_wait(answer)
            if wait is None or wait > LONGEST_WAIT or turn == self.retries:
                raise refusal
            # At random, so that many clients that were refused together do not come back together.
            time.sleep(max(wait, FIRST_WAIT * 2**turn * random.uniform(0.5, 1)))
        raise AssertionError("unreachable")

    def json(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        """The same, of an answer in JSON.

        Args:
            method: as there.
            path: as there.
            **request: as there.

        Raises:
            Refusal: as there; or what answers is no service of Triune.
        """
        found = _json_of(self.ask(method, path, **request))
        if not isinstance(found, dict):
            raise Refusal(f"{self.url} is no service of Triune: what it answers to {path} is no JSON object")
        return found

    def image(self, path: str) -> bytes:
        """The same, of an answer that is the file of an image.

        Args:
            path: as there.

        Raises:
            Refusal: as there; or what answers is no service of Triune.
        """
        answer = self.ask("GET", path)
        if not answer.headers.get("Content-Type", "").startswith("image/"):
            raise Refusal(f"{self.url} is no service of Triune: what it answers to {path} is no image")
        return answer.content

    def _refusal(self, answer: "httpx.Response") -> Refusal:
        """What an answer with an error says; some are a proxy's, not the service's."""
        said = _json_of(answer)
        if isinstance(said, dict) and isinstance(said.get("error"), str):
            place = said.get("image")
            return Refusal(on_one_line(said["error"]), answer.status_code, place if is_whole(place) else None)
        meaning = HTTPStatus(answer.status_code).phrase if answer.status_code in set(HTTPStatus) else "no known status"
        more = ": give the address that it leads to" if answer.is_redirect else ""
        return Refusal(f"{self.url} answers {answer.status_code} ({meaning}){more}", answer.status_code)


def sender(url: str, token: str | None, timeout: float, retries: int) -> Sender:
    """How requests to a service are sent; nothing is sent yet.

    Args:
        url: its address, such as ``http://127.0.0.1:8000`` or ``https://example.org/triune``.
        token: that it asks for.
        timeout: seconds that it may take to accept a connection, to take a part of a request, and to answer.
        retries: how often a request is sent again.

    Raises:
        InputError: one of these cannot be, or httpx is not installed.
    """
    try:
        import httpx  # noqa: F401
    except ImportError as error:
        raise InputError("triune.Client needs httpx, which is not installed: pip install 'triune[client]'") from error
    if not (is_number(timeout) and 0 < timeout <= LONGEST_TIMEOUT):
        raise InputError(f"timeout is {timeout!r}: seconds, more than 0 and {LONGEST_TIMEOUT} at most, are needed")
    if not (is_whole(retries) and retries >= 0):
        raise InputError(f"retries is {retries!r}: a whole number of at least 0 is needed")
    if token is not None and not (isinstance(token, str) and re.fullmatch(r"[\x21-\x7e]+", token)):
        raise InputError("the token is empty, or holds characters that no token of a service holds")
    address = address_of(url, token)
    headers = {"Accept": "application/json", "User-Agent": "triune"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    connections = Connections(partial(opened, address, headers, float(timeout)))
    return Sender(connections, without_password(address), int(retries))


def _asked_to_wait(answer: "httpx.Response") -> float | None:
    """Seconds until the request may be sent again; ``None`` where it may not."""
    asked = answer.headers.get("Retry-After", "").strip()
    if answer.status_code != BUSY or not asked:
        return None
    if asked.isdecimal():
        return float(asked)
    try:
        until = parsedate_to_datetime(asked)
    except ValueError:
        return None
    until = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def _json_of(answer: "httpx.Response") -> Any:
    """What an answer holds, or ``None`` where it holds no JSON."""
    try:
        return answer.json()
    except (ValueError, RecursionError):
        return None


def _unreachable(error: Exception, http: "httpx.Client") -> str:
    import httpx

    reason = on_one_line(str(error)) or type(error).__name__
    way = " by the proxy that the environment names" if by_proxy(http.base_url) else ""
    kind = "cannot be reached" if isinstance(error, httpx.ConnectError | httpx.ProxyError) else "broke off"
    return f"{kind}{way} ({reason})"
