"""The application: routes, what they take and answer, and how whatever goes wrong becomes one line."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from triune._version import __version__
from triune.web.gallery_routes import gallery_routes
from triune.web.guard import Access, Guard
from triune.web.measures import TEXT as TEXT_OF_METRICS, Measured, Measures
from triune.web.refusals import Refused
from triune.web.routes import model_routes
from triune.web.served import Served

LOG = logging.getLogger("triune.web")

PAGE: Final = "page"

Handler = Callable[[Request, Exception], Awaitable[Response]]

TEXT: Final = """
A trained run in use: whether two images show the same thing, what is on an image, and what a gallery holds that is
like it. Images go in as multipart form files, or as base64 strings in JSON, on the same routes. What cannot be answered
says why: `{"error": "one line that names the culprit and the way out"}`.
""".strip()


def application(served: Served, access: Access, measures: Measures | None = None) -> FastAPI:
    """The service as an ASGI application.

    Args:
        served: what is served; it is closed with the application.
        access: who may ask.
        measures: counts; of its own where not given.
    """
    counted = measures or Measures()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(served.close)

    app = FastAPI(
        title="Triune",
        version=__version__,
        description=TEXT,
        docs_url=None,  # its scripts would come from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        exception_handlers=_handlers(),
        redirect_slashes=False,
    )
    app.state.served = served
    model_routes(app, served)
    gallery_routes(app, served)
    _add_page(app)

    async def metrics() -> Response:
        """What the service counts about itself, as Prometheus reads it."""
        return Response(counted.text(served), media_type=TEXT_OF_METRICS)

    app.add_api_route("/metrics", metrics, methods=["GET"], response_class=PlainTextResponse)
    app.add_middleware(Guard, access=access)
    app.add_middleware(Measured, measures=counted)
    return app


def _handlers() -> dict[Any, Any]:
    """How whatever goes wrong is answered."""

    async def refused(_: Request, error: Refused) -> Response:
        return JSONResponse(error.body(), error.status, error.headers)

    async def http(request: Request, error: HTTPException) -> Response:
        reason = {
            404: f"there is nothing at {request.url.path}: GET /openapi.json lists what there is",
            405: f"{request.url.path} does not answer {request.method}: GET /openapi.json says what it answers",
        }.get(error.status_code, str(error.detail))
        return await refused(request, Refused(error.status_code, reason, headers=error.headers))

    async def invalid(request: Request, error: RequestValidationError) -> Response:
        problem = error.errors()[0]
        name = ".".join(str(each) for each in problem["loc"][1:]) or "the request"
        return await refused(request, Refused(422, f"{name}: {problem['msg']}"))

    async def failed(request: Request, error: Exception) -> Response:
        return await refused(request, Refused(500, f"the service failed ({type(error).__name__}): its log says where"))

    return {Refused: refused, HTTPException: http, RequestValidationError: invalid, Exception: failed}


def _add_page(app: FastAPI) -> None:
    """The page at ``/``, and its files below ``/page/``."""
    folder = Path(str(files("triune.web"))) / PAGE
    index = folder / "index.html"

    async def page() -> Response:
        if index.is_file():
            return FileResponse(index, headers={"Cache-Control": "no-cache"})
        return JSONResponse({"name": "triune", "version": __version__, "openapi": "/openapi.json"})

    app.add_api_route("/", page, methods=["GET", "HEAD"], include_in_schema=False)
    if folder.is_dir():
        app.mount("/page", StaticFiles(directory=folder), name="page")
