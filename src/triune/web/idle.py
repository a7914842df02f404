"""Connections of strangers: one that sends no request, half a header or an endless one is closed.

uvicorn itself ends a connection only after an answer, and waits for all else as long as it takes.
"""

import asyncio
import socket
from typing import Any, Final

from uvicorn.protocols.http.auto import AutoHTTPProtocol

MOST_HEADER: Final = 1 << 16
"""Bytes of a request's first line and headers together."""

UNREAD: Final = 60
"""Seconds in which whoever asked takes a part of the answer."""


class Impatient(AutoHTTPProtocol):  # type: ignore[valid-type,misc]  # a class that is chosen when uvicorn is imported
    """uvicorn's connection, which has as long to bring a request's header as it may be idle between two requests.

    What is still to come of the body of a request that was answered already (one without the token, say) counts as
    idle. How long a body may take that is being read is a limit of the service.
    """

    _closing: asyncio.TimerHandle | None = None
    _within_header = True
    _header = 0

    def connection_made(self, transport: Any) -> None:
        """A connection is there, and has not asked yet."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """A part of a request has come."""
        super().data_received(data)
        self._header = self._header + len(data) if self._within_header else 0
        if self._header > MOST_HEADER:
            self.transport.close()
        self._watch()

    def on_message_begin(self) -> None:
        """The first character of a request has come (httptools; h11 has a limit of its own on headers)."""
        self._within_header = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """All headers of a request have come."""
        self._within_header = False
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._rest()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Be closed in a while, unless an answer is being made."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._rest()
        elif self._closing is None and not self.transport.is_closing():
            self._closing = self.loop.call_later(self.timeout_keep_alive, self.transport.close)

    def _rest(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None


def close_unread(listening: socket.socket) -> None:
    """Let the system close connections whose other side takes nothing of an answer; those of a socket inherit it.

    Args:
        listening: that accepts them. Systems other than Linux know no such limit, and leave them open.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD * 1000)
