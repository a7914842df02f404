"""A small server with made answers of the service's shapes: states that a real one shows rarely are one line here."""

import base64
import io
import json
import math
import re
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from itertools import pairwise
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

PAGE = files("triune.web") / "page"
KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
# What the service sends; 'unsafe-inline' is not among it.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Asked(NamedTuple):
    """A request that came in: names and values of its form, of a file its name."""

    method: str
    path: str
    form: dict[str, list[str]]
    headers: dict[str, str]


class Answer(NamedTuple):
    """What is sent back: JSON, or bytes."""

    status: int
    body: Any
    headers: Mapping[str, str] = MappingProxyType({})


def picture(colour: tuple[int, int, int] = (200, 60, 40), size: tuple[int, int] = (48, 32)) -> bytes:
    """A PNG of one colour with a darker half."""
    pixels = np.full((size[1], size[0], 3), colour, np.uint8)
    pixels[:, size[0] // 2 :] //= 2
    return _png(pixels)


def _png(pixels: Any) -> bytes:
    made = io.BytesIO()
    Image.fromarray(pixels).save(made, "PNG")
    return made.getvalue()


def mask(size: tuple[int, int] = (48, 32)) -> str:
    """Ids 0, 1, 2 and 255 side by side, as the service writes them."""
    ids = np.zeros((size[1], size[0]), np.uint8)
    for place, number in enumerate((0, 1, 2, 255)):
        ids[:, place * size[0] // 4 : (place + 1) * size[0] // 4] = number
    return base64.b64encode(_png(ids)).decode()


ABOUT = {
    "name": "/srv/runs/things-1",
    "version": "0.1.0",
    "backbone": "resnet18",
    "metric": "cosine",
    "dim": 64,
    "classes": ["apple", "cup", "horse"],
    "masks": True,
    "mask_names": None,
    "fingerprint": "6f1c9a0b3d2e",
    "figures": {
        "level": 0.9,
        "split": "test",
        "target_fpr": 0.05,
        "auc": {"value": 0.978, "low": 0.957, "high": 0.995},
        "tpr_at_fpr": {"value": 0.932, "low": 0.635, "high": 0.996},
        "iou": {"value": 0.942, "low": None, "high": None},
    },
    "gallery": {
        "name": "shelf",
        "count": 24,
        "identities": 4,
        "labels": 2,
        "columns": {"image": "String", "label": "String", "identity": "String", "price": "Float64"},
        "version": 3,
    },
    "can": ["verify", "search", "identify", "enrol", "predict"],
    "limits": {"images": 64, "bytes": 4 * 2**20, "image_bytes": 2 * 2**20, "pixels": 50_000_000, "seconds": 30},
    "demo": False,
}

EXPECTED = {"estimate": 0.05, "low": 0.018, "high": 0.13, "level": 0.9, "identities": 8, "impostors": 47068}

VERDICT = {
    "same": True,
    "distance": 0.25,
    "threshold": 0.5,
    "target_fpr": 0.05,
    "validation_fpr": 0.049,
    "metric": "cosine",
    "caution": None,
    "expected": EXPECTED,
    "confidence": None,
    "unfamiliar": [],
    "asked_fpr": None,
}


def pairs() -> dict[str, Any]:
    """Matching pairs near 0.2, others near 0.9; the rate of a threshold grows tenfold with each 0.2 of distance."""
    edges = [k / 40 for k in range(49)]
    middles = [(a + b) / 2 for a, b in pairwise(edges)]
    hill = [
        [round(1000 * math.exp(-(((x - at) / width) ** 2))) for x in middles] for at, width in ((0.2, 0.1), (0.9, 0.2))
    ]
    levels = [
        {"fpr": fpr, "distance": distance, "validation_fpr": 0.98 * fpr, "tpr": tpr, "expected": None, "exact": False}
        for fpr, distance, tpr in (
            (0.0001, 0.1, 0.2),
            (0.001, 0.2, 0.5),
            (0.01, 0.4, 0.9),
            (0.05, 0.5, 0.99),
            (0.5, 0.9, 1),
        )
    ]
    levels[3] |= {"expected": EXPECTED, "exact": True}
    return {
        "metric": "cosine",
        "edges": edges,
        "matching": hill[0],
        "others": hill[1],
        "split": "validation",
        "levels": levels,
        "own": 3,
    }


def hit(
    row: int, score: float, identity: str = "cup 1", duplicate_of: int | None = None, **columns: Any
) -> dict[str, Any]:
    """A hit as /search tells it."""
    return {
        "row": row,
        "image": f"/shelf/{row}.png",
        "label": "cup",
        "identity": identity,
        "score": score,
        "distance": 1 - score,
        "columns": columns,
        "thumbnail": f"/thumbnail/{row}?version=3",
        "duplicate_of": duplicate_of,
    }


RULE = {
    "threshold": 0.8,
    "threshold_distance": 0.2,
    "metric": "cosine",
    "fpir": 0.01,
    "promised_fpir": None,
    "no_promise": "the validation identities chose the checkpoint, too",
    "enrolled_identities": 4,
    "enrolled_images": 24,
    "strangers": [
        {
            "who": "validation identities",
            "identities": 8,
            "images": 40,
            "fpir": 0.01,
            "low": 0.0,
            "high": 0.3,
            "level": 0.9,
            "extrapolated": False,
        }
    ],
    "caution": "8 identities of strangers can count rates from 12.5% on",
}


def candidate(identity: str, score: float) -> dict[str, Any]:
    return {"identity": identity, "score": score, "distance": 1 - score, "image": f"/shelf/{identity}.png"}


class Stub:
    """The server. Change ``answers`` for another answer of a path; ``asked`` holds what came in."""

    def __init__(self) -> None:
        self.reset()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                stub._serve(self)

            do_POST = do_DELETE = do_GET

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def reset(self) -> None:
        """As it is at first."""
        self.asked: list[Asked] = []
        self.token: str | None = None
        self.gone = False
        self.enrolments: list[dict[str, Any]] = []
        self.answers: dict[str, Callable[[Asked], Any]] = {
            "/about": lambda _: ABOUT,
            "/pairs": lambda _: pairs(),
            "/health": lambda _: {"status": "alive"},
            "/samples": lambda _: {"images": []},
            "/verify": lambda asked: VERDICT | {side: asked.form[side][0] for side in ("first", "second")},
            "/search": lambda asked: {
                "results": [
                    {
                        "query": "q",
                        "hits": [hit(3, 0.97, price=2.5), hit(4, 0.96, duplicate_of=3), hit(7, 0.5, "cup 2")],
                    }
                ]
            },
            "/identify": self._identify,
            "/predict": self._predict,
            "/enrol": self._enrol,
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def last(self, path: str) -> Asked:
        """The latest request of a path."""
        return next(each for each in reversed(self.asked) if each.path == path)

    def count(self, path: str) -> int:
        """How often a path was asked."""
        return sum(each.path == path for each in self.asked)

    def _identify(self, asked: Asked) -> Any:
        known = {each["identity"] for each in self.enrolments}
        best = candidate("my mug", 1.0) if "my mug" in known else candidate("cup 1", 0.7)
        named = best["identity"] if best["score"] >= RULE["threshold"] else None  # type: ignore[operator]
        both = [best, candidate("cup 2", 0.4)]
        answers = [
            {"query": name, "identity": named, "score": best["score"], "candidates": both}
            for name in asked.form["images"]
        ]
        return {"identifications": answers, "rule": RULE | {"fpir": float(asked.form["fpir"][0])}}

    def _predict(self, asked: Asked) -> Any:
        likely = {"cup": 0.7, "apple": 0.25, "horse": 0.05}
        return {
            "predictions": [
                {
                    "name": asked.form["images"][0],
                    "size": [32, 48],
                    "label": "cup",
                    "probability": 0.7,
                    "top": likely,
                    "probabilities": likely,
                    "mask_share": 0.5,
                    "unfamiliar": False,
                    "embedding": None,
                    "mask": mask(),
                }
            ]
        }

    def _enrol(self, asked: Asked) -> Any:
        if asked.method == "GET":
            return {"enrolments": self.enrolments[::-1]}
        made = {
            "enrolment": asked.form["key"][0],
            "identity": asked.form["identity"][0],
            "images": len(asked.form["images"]),
        }
        self.enrolments.append(made | {"time": "2026-11-26T10:00:00+00:00"})
        return made | {"images": asked.form["images"], "count": 24 + made["images"]}

    def _answer(self, asked: Asked) -> Answer:
        path = asked.path
        if path == "/" or path.startswith("/page/"):
            file = PAGE / (path.removeprefix("/page/") if path != "/" else "index.html")
            if not file.is_file():
                return Answer(404, {"error": f"there is no {path}"})
            kind = KINDS[path.rpartition(".")[2] if path != "/" else "html"]
            return Answer(
                200,
                file.read_bytes(),
                {"Content-Type": kind, "Content-Security-Policy": POLICY, "Cache-Control": "max-age=60"},
            )
        if self.token and path != "/health" and asked.headers.get("authorization") != f"Bearer {self.token}":
            return Answer(401, {"error": "a token is needed"})
        if path.startswith(("/thumbnail/", "/samples/")):
            return Answer(200, picture(), {"Content-Type": "image/png"})
        if path.startswith("/enrol/"):
            before = self.enrolments
            self.enrolments = [each for each in before if each["enrolment"] != path.removeprefix("/enrol/")]
            if self.enrolments == before:
                return Answer(404, {"error": f"there is no enrolment {path.removeprefix('/enrol/')}"})
            return Answer(200, {"enrolment": path.removeprefix("/enrol/"), "removed": 1, "count": 24})
        if path not in self.answers:
            return Answer(404, {"error": f"there is no {path}"})
        told = self.answers[path](asked)
        return told if isinstance(told, Answer) else Answer(200, told)

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        sent = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        if self.gone:
            handler.close_connection = True
            handler.connection.close()
            return
        path = handler.path.partition("?")[0]
        asked = Asked(
            handler.command, path, form_of(sent), {name.lower(): value for name, value in handler.headers.items()}
        )
        self.asked.append(asked)
        answer = self._answer(asked)
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        handler.send_response(answer.status)
        for name, value in ({"Content-Type": "application/json", **answer.headers}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


def form_of(body: bytes) -> dict[str, list[str]]:
    """Names and values of a multipart form; of a file its name."""
    found: dict[str, list[str]] = {}
    part = re.compile(
        rb'\r\nContent-Disposition: form-data; name="([^"]*)"(?:; filename="([^"]*)")?(.*?)\r\n\r\n(.*?)(?=\r\n--)',
        re.DOTALL,
    )
    for name, file, _, value in part.findall(body):
        found.setdefault(name.decode(), []).append((file or value).decode())
    return found
