"""Who may ask: the token, the name the service was called by, and whether a page of another site asks."""

import hmac
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from triune.errors import InputError
from triune.web.refusals import Refused

LEAST_TOKEN: Final = 16
"""Characters of a token."""

LOOPBACK: Final = frozenset(("localhost", "127.0.0.1", "[::1]"))

OPEN: Final = re.compile(r"/|/page(/.*)?|/favicon\.ico|/health|/ready")
"""What wants no token: the page itself, which asks for it, and what tells others whether the service is there."""

HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; font-src 'self'; "
        "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}
"""That go with every answer: the page loads nothing from elsewhere, and nobody shows it within theirs."""


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Args:
        token: that requests must bring; none where not given.
        hosts: further names that a service without a token may be called by.
        origins: pages of other sites that may ask, such as ``https://example.org``.
    """

    token: str | None = field(default=None, repr=False)
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()


def require_token(token: str) -> str:
    """A token that can be sent, and that nobody guesses.

    Raises:
        InputError: it is too short, or holds characters that a header does not take.
    """
    if len(token) < LEAST_TOKEN or not re.fullmatch(r"[\x21-\x7e]*", token):
        raise InputError(
            f"the token needs at least {LEAST_TOKEN} characters, of ASCII and without spaces: "
            "`python3 -c 'import secrets; print(secrets.token_urlsafe())'` makes one"
        )
    return token


class Guard:
    """Refuses requests that may not ask, before anything of their body is read.

    Without a token a service answers those alone who call it by a name of this machine: a page that has its own name
    point here (DNS rebinding) calls it by that. A page of another site is told by the browser (``Origin``,
    ``Sec-Fetch-Site``) and may neither ask nor change anything.

    Args:
        app: answers those who may.
        access: says who may.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access
        self._token = None if access.token is None else access.token.encode()
        self._hosts = LOOPBACK | {each.lower() for each in access.hosts}
        self._origins = {each.lower().rstrip("/") for each in access.origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin", "").lower()
        extra = HEADERS
        if origin and origin in self._origins:
            extra = HEADERS | _shared_with(origin)
        try:
            self._check(scope, headers, origin)
        except Refused as refused:
            answer = JSONResponse(refused.body(), refused.status, refused.headers)
            await answer(scope, receive, _with(send, extra))
            return
        if scope["method"] == "OPTIONS" and origin in self._origins:
            await JSONResponse({})(scope, receive, _with(send, extra))
            return
        await self._app(scope, receive, _with(send, extra))

    def _check(self, scope: Scope, headers: Headers, origin: str) -> None:
        host = headers.get("host", "").lower()
        if self._token is None and _name_of(host) not in self._hosts:
            raise Refused(
                403, f"the service was called by the name {host!r}: call it by localhost, or start it with --hosts NAME"
            )
        if origin not in self._origins:
            self._check_site(scope, headers, origin, host)
        if self._token is not None and not OPEN.fullmatch(scope["path"]) and scope["method"] != "OPTIONS":
            given = headers.get("authorization", "").encode()
            kind, _, token = given.partition(b" ")
            # Both are compared whole, whatever they are: the time says nothing of how much is right.
            if not hmac.compare_digest(token.strip(), self._token) or kind.lower() != b"bearer":
                raise Refused(
                    401,
                    f"the token is {'wrong' if token else 'missing'}: send the header Authorization: Bearer TOKEN",
                    headers={"WWW-Authenticate": "Bearer"},
                )

    def _check_site(self, scope: Scope, headers: Headers, origin: str, host: str) -> None:
        if origin and origin.partition("://")[2] != host:
            raise Refused(403, f"a page of {origin} asks, which is another site: start the service with --origins")
        site, mode = headers.get("sec-fetch-site", ""), headers.get("sec-fetch-mode", "")
        follows_link = mode == "navigate" and scope["method"] in ("GET", "HEAD")
        if site in ("cross-site", "same-site") and not follows_link:
            raise Refused(403, "a page of another site asks: start the service with --origins to let it")


def _name_of(host: str) -> str:
    """A host without its port."""
    return re.sub(r":\d*$", "", host)


def _shared_with(origin: str) -> dict[str, str]:
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": "GET, POST, DELETE",
        "Access-Control-Allow-Headers": "authorization, content-type",
        "Access-Control-Max-Age": "600",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "Vary": "Origin",
    }


def _with(send: Send, headers: dict[str, str]) -> Send:
    """What sends an answer with some headers more."""
    more = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = {name.lower() for name, _ in message.get("headers", [])}
            message["headers"] = [*message.get("headers", []), *(each for each in more if each[0] not in given)]
        await send(message)

    return sending


def is_loopback(host: str, names: Collection[str] = LOOPBACK) -> bool:
    """Whether an address that is bound can be reached from this machine alone.

    Args:
        host: a name or an address.
        names: those that stand for it.
    """
    return host in names or host == "::1" or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None
