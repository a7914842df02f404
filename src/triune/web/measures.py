"""What the service counts about itself, as Prometheus reads it: requests, batches, what waits; never what was sent."""

import time
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from triune.web.served import Served

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
IMAGES: Final = (1, 2, 4, 8, 16, 32, 64, 128)


M = TypeVar("M", Counter, Gauge, Histogram)


class Measures:
    """Counters of one process.

    Args:
        worker: tells them from those of other workers, each of which counts for itself; nothing where there is one.
    """

    def __init__(self, worker: str = "") -> None:
        self._worker = [worker] if worker else []
        own = ["worker"] if worker else []
        self.registry = kept = CollectorRegistry()
        ProcessCollector(registry=kept)
        asked = ["route", "method", "status", *own]
        self._requests = Counter("triune_requests", "Requests answered.", asked, registry=kept)
        took = "From the first byte of a request to the last of its answer."
        self._seconds = Histogram("triune_request_seconds", took, ["route", *own], buckets=SECONDS, registry=kept)
        fed = "Images of a batch of the network."
        self._batches = Histogram("triune_batch_images", fed, own, buckets=IMAGES, registry=kept)
        self._network = Counter("triune_network_seconds", "Seconds in which the network computed.", own, registry=kept)
        self._waiting = Gauge("triune_waiting_images", "Images taken on and not answered yet.", own, registry=kept)
        self._held = Gauge("triune_body_bytes", "Bytes of requests' bodies in memory.", own, registry=kept)

    def batch(self, images: int, seconds: float) -> None:
        """Count a batch.

        Args:
            images: of it.
            seconds: that it took.
        """
        self._of(self._batches).observe(images)
        self._of(self._network).inc(seconds)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request.

        Args:
            route: its path, without what it holds of the request.
            method: of HTTP.
            status: of the answer.
            seconds: that it took.
        """
        self._requests.labels(route, method, str(status), *self._worker).inc()
        self._seconds.labels(route, *self._worker).observe(seconds)

    def text(self, served: Served) -> bytes:
        """All of it, in Prometheus' form."""
        self._of(self._waiting).set(served.batches.waiting)
        self._of(self._held).set(served.held.now)
        return generate_latest(self.registry)

    def _of(self, measure: M) -> M:
        return measure.labels(*self._worker) if self._worker else measure


class Measured:
    """Counts requests, those that are refused included.

    Args:
        app: answers them.
        measures: counts.
    """

    def __init__(self, app: ASGIApp, measures: Measures) -> None:
        self._app = app
        self._measures = measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, and count it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            # A path that strangers make up, or an unknown method, would be a series of its own each.
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in METHODS else "other"
            self._measures.request(route, method, status, time.perf_counter() - begun)


METHODS: Final = frozenset(("GET", "HEAD", "POST", "DELETE", "OPTIONS"))
