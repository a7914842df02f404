"""Mixed load on a service: answers known beforehand, hostile requests with the only answers that are right, and kills.

Parts of `benchmarks/serving.py`; nothing here writes a report.
"""

from __future__ import annotations

import http.client
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
import uuid
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np

import triune

MARK = b"uploaded-by-benchmark-7f3a91c2"
"""Part of every picture that is not enrolled: it must be nowhere on the disk afterwards."""

TOKEN = "a-token-of-the-benchmark"
ENROLLED = 3
"""Pictures of an enrolment."""

BODY_SECONDS = 4
"""How slow a body may be: less than is usual, so that a slow one does not take a client's time."""

WITHOUT_VISITORS = "label != 'visitor'"


# --- a server ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """A service in a process of its own.

    Args:
        url: its address.
        process: the process.
        folders: fresh ones that are its working directory, home and place for temporary files.
        log: its standard error.
    """

    url: str
    process: subprocess.Popen[str]
    folders: dict[str, Path]
    log: Path


@contextmanager
def served(folder: Path, *arguments: object) -> Iterator[Server]:
    """`triune serve ARGUMENTS` on a free port of the loopback, until the block ends."""
    folders = {name: folder / name for name in ("work", "home", "temp")}
    for each in folders.values():
        each.mkdir(parents=True, exist_ok=True)
    log = folder / "log"
    paths = {"HOME": folders["home"], "TMPDIR": folders["temp"], "XDG_CACHE_HOME": folders["home"]}
    own = {name: str(path) for name, path in paths.items()} | {"TRIUNE_TOKEN": TOKEN}
    # What Numba has compiled is no upload; it is shared, so that a start takes seconds and not a minute.
    cache = os.environ.get("NUMBA_CACHE_DIR") or str(Path(triune.__file__).parent / "kernels" / "__pycache__")
    own |= {"NUMBA_CACHE_DIR": cache} if os.environ.get("NUMBA_CACHE_DIR") else {}
    command = [sys.executable, "-m", "triune", "serve", *map(str, arguments), "--port", "0"]
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=folders["work"], env=os.environ | own
        )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip().rstrip("/")
        if not url.startswith("http://127.0.0.1:"):
            raise SystemExit(f"the service did not start:\n{log.read_text()}")
        yield Server(url, process, folders, log)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()


def processes_of(pid: int) -> list[int]:
    """A process and all that it has started."""
    found, waiting = [], [pid]
    while waiting:
        each = waiting.pop()
        try:
            children = Path(f"/proc/{each}/task/{each}/children").read_text().split()
        except OSError:
            continue
        found.append(each)
        waiting += map(int, children)
    return found


def resident_mib(pid: int) -> float:
    """Memory of a process and its children."""
    total = 0.0
    for each in processes_of(pid):
        try:
            lines = Path(f"/proc/{each}/status").read_text().splitlines()
        except OSError:
            continue
        total += next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0) / 1024
    return total


def processor_seconds(pid: int) -> float:
    """Processor time of a process and its children so far."""
    total = 0
    for each in processes_of(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def open_files(pid: int) -> set[str]:
    """Files that a process and its children hold open for writing, removed ones and those in shared memory included."""
    found = set()
    for each in processes_of(pid):
        for entry in list_of(f"/proc/{each}/fd"):
            try:
                path = os.readlink(entry)
                flags = int(Path(str(entry).replace("/fd/", "/fdinfo/")).read_text().split("flags:")[1].split()[0], 8)
            except (OSError, IndexError, ValueError):
                continue
            if path.startswith("/") and not path.startswith(("/dev/null", "/dev/pts", "/proc")) and flags & 3:
                found.add(path)
    return found


def list_of(folder: str) -> list[Path]:
    try:
        return list(Path(folder).iterdir())
    except OSError:
        return []


def files_with(mark: bytes, folders: list[Path]) -> list[str]:
    """Files below some folders that hold a mark."""
    found = []
    for folder in folders:
        for path in [folder] if folder.is_file() else folder.rglob("*"):
            if path.is_file() and mark in path.read_bytes():
                found.append(str(path))
    return found


# --- what is asked, and what is answered ------------------------------------------------------------------------------


def marked(path: Path) -> bytes:
    """A picture's file that decodes to the same pixels and holds the mark: PNG and JPEG readers stop before it."""
    return path.read_bytes() + MARK


@dataclass(frozen=True)
class Known:
    """Pictures, and what the Python objects say of them."""

    pictures: list[bytes]
    embeddings: np.ndarray[Any, Any]
    predictions: list[Any]
    verdicts: dict[tuple[int, int], Any]
    hits: list[Any]
    who: list[Any]


def known_of(run: triune.LoadedRun, gallery: triune.Gallery, paths: list[Path], seed: int) -> Known:
    """Ask the Python objects everything that the clients will ask the service."""
    g = np.random.default_rng(seed)
    names = [str(path) for path in paths]
    pairs = [tuple(map(int, g.choice(len(paths), 2, replace=False))) for _ in range(4 * len(paths))]
    verdicts = run.verify_pairs([(names[i], names[j]) for i, j in pairs])
    return Known(
        [marked(path) for path in paths],
        run.embed(names),
        run.predict(names),
        dict(zip(pairs, verdicts, strict=True)),
        gallery.search(names, k=5, where=WITHOUT_VISITORS),
        gallery.identify(names, 0.05, where=WITHOUT_VISITORS),
    )


def close(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-4 or one == other


class Wrong(Exception):
    """An answer that is not the one that is known."""


def expect(right: bool, what: str) -> None:
    if not right:
        raise Wrong(what)


def ask_embed(client: triune.Client, known: Known, g: random.Random) -> None:
    chosen = g.sample(range(len(known.pictures)), g.randint(1, 4))
    rows = client.embed([known.pictures[k] for k in chosen])
    expect(bool(np.abs(rows - known.embeddings[chosen]).max() <= 1e-4), "embed")


def ask_predict(client: triune.Client, known: Known, g: random.Random) -> None:
    chosen = g.randrange(len(known.pictures))
    (said,), right = client.predict([known.pictures[chosen]]), known.predictions[chosen]
    assert isinstance(said, triune.serving.answers.ImagePrediction)
    expect((said.size, said.label, said.unfamiliar) == (right.size, right.label, right.unfamiliar), "predict")
    if right.probabilities is not None:
        expect(all(close(said.probabilities[name], p) for name, p in right.probabilities.items()), "probabilities")
    if right.mask is not None:
        expect(said.mask.shape == right.mask.shape and (said.mask != right.mask).mean() <= 1e-3, "mask")


def ask_verify(client: triune.Client, known: Known, g: random.Random) -> None:
    (i, j), right = g.choice(list(known.verdicts.items()))
    said = client.verify(known.pictures[i], known.pictures[j])
    own = (said.threshold, said.target_fpr, said.metric, said.expected, len(said.unfamiliar))
    of_right = (right.threshold, right.target_fpr, right.metric, right.expected, len(right.unfamiliar))
    expect(own == of_right and close(said.distance, right.distance), "verify")
    # A pair on the very threshold may fall to either side of it by the last bits of a batch of another size.
    expect(said.same == right.same or close(right.distance, right.threshold), "verify: same")


def ask_search(client: triune.Client, known: Known, g: random.Random) -> None:
    chosen = g.randrange(len(known.pictures))
    (said,), right = client.search([known.pictures[chosen]], k=5, where=WITHOUT_VISITORS), known.hits[chosen]
    expect(all(close(a.score, b.score) for a, b in zip(said.hits, right.hits, strict=True)), "search: scores")
    apart = min((a.score - b.score for a, b in zip(right.hits, right.hits[1:])), default=1.0)
    expect(apart < 1e-4 or [a.image for a in said.hits] == [b.image for b in right.hits], "search: rows")


def ask_identify(client: triune.Client, known: Known, g: random.Random) -> None:
    chosen = g.randrange(len(known.pictures))
    (said,), right = client.identify([known.pictures[chosen]], 0.05, where=WITHOUT_VISITORS), known.who[chosen]
    expect(close(said.threshold, right.threshold) and close(said.score, right.score), "identify: scores")
    expect(said.identity == right.identity or close(right.score, right.threshold), "identify: who")


def ask_enrol(client: triune.Client, known: Known, g: random.Random) -> None:
    # What is enrolled is kept, as it should be: so it bears no mark.
    chosen = [known.pictures[k].removesuffix(MARK) for k in g.sample(range(len(known.pictures)), ENROLLED)]
    who = f"visitor {uuid.uuid4()}"
    enrolment = client.enrol(chosen, who, label="visitor")
    expect(enrolment.identity == who and len(enrolment.images) == ENROLLED, "enrol")
    expect(client.undo(enrolment) == ENROLLED, "undo")


GOOD: list[tuple[str, int, Callable[[triune.Client, Known, random.Random], None]]] = [
    ("embed", 40, ask_embed),
    ("verify", 25, ask_verify),
    ("predict", 15, ask_predict),
    ("search", 12, ask_search),
    ("identify", 6, ask_identify),
    ("enrol and undo", 2, ask_enrol),
]


# --- hostile requests -------------------------------------------------------------------------------------------------


def bomb(width: int = 60_000, height: int = 60_000) -> bytes:
    """A small PNG that claims 3.6 billion pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


Answer = tuple[int, str]


def posted(http_: httpx.Client, path: str, **content: Any) -> Answer:
    answer = http_.post(path, **content)
    try:
        return answer.status_code, str(answer.json().get("error", ""))
    except ValueError:
        return answer.status_code, answer.text


def truncated(http_: httpx.Client, known: Known, g: random.Random) -> Answer:
    picture = g.choice(known.pictures).removesuffix(MARK)
    return posted(http_, "/embed", files=[("images", ("cut.jpg", picture[: len(picture) // 3] + MARK))])


def bombing(http_: httpx.Client, known: Known, g: random.Random) -> Answer:
    return posted(http_, "/predict", files=[("images", ("bomb.png", bomb() + MARK))])


def wrong_type(http_: httpx.Client, known: Known, g: random.Random) -> Answer:
    content = g.choice(known.pictures)
    return posted(http_, "/embed", content=content, headers={"Content-Type": g.choice(["image/jpeg", "text/html"])})


def no_image(http_: httpx.Client, known: Known, g: random.Random) -> Answer:
    body = g.choice([b"%PDF-1.7 " + MARK, b"<svg onload='alert(1)'/>" + MARK, b"", MARK, b"GIF89a" + MARK])
    return posted(http_, "/verify", files=[("first", ("a.png", body)), ("second", ("b.png", known.pictures[0]))])


def wrong_json(http_: httpx.Client, known: Known, g: random.Random) -> Answer:
    body = g.choice([{"images": 3}, {"images": ["%%%"]}, [], {"images": [None]}, {"images": [], "k": "x"}, "images"])
    return posted(http_, "/embed", json=body)


def huge(http_: httpx.Client, known: Known, g: random.Random) -> Answer:
    try:
        return posted(http_, "/embed", files=[("images", ("huge.jpg", MARK * (50_000_000 // len(MARK))))])
    except httpx.TransportError:
        return 413, "broken off while it was sent"


def slow(http_: httpx.Client, known: Known, g: random.Random) -> Answer:
    """A body that does not come."""
    place = urlsplit(str(http_.base_url))
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=60)
    try:
        connection.putrequest("POST", "/embed")
        for name, value in (
            ("Authorization", f"Bearer {TOKEN}"),
            ("Content-Type", "multipart/form-data; boundary=b"),
            ("Content-Length", "100000"),
        ):
            connection.putheader(name, value)
        connection.endheaders()
        connection.send(b'--b\r\nContent-Disposition: form-data; name="images"; filename="a.jpg"\r\n\r\n' + MARK)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        return answer.status, text
    except TimeoutError:
        return 0, "no answer within a minute"
    except (OSError, http.client.HTTPException):
        return 408, "broken off"
    finally:
        connection.close()


def wrong_token(http_: httpx.Client, known: Known, g: random.Random) -> Answer:
    token = g.choice(["", "x" * 24, TOKEN[:-1], TOKEN + "x", TOKEN.upper()])
    headers = {"Authorization": f"Bearer {token}".strip()}
    return posted(http_, "/embed", headers=headers, files=[("images", ("a.jpg", known.pictures[0]))])


def traversal(http_: httpx.Client, known: Known, g: random.Random) -> Answer:
    mark = MARK.decode()
    name = g.choice([f"../../../../tmp/{mark}.jpg", f"/etc/{mark}", f"..\\..\\{mark}.jpg", f"%2e%2e%2f{mark}.jpg"])
    return posted(http_, "/embed", files=[("images", (name, known.pictures[0]))])


def other_paths(http_: httpx.Client, known: Known, g: random.Random) -> Answer:
    path = g.choice(
        ["/page/../../../../etc/passwd", "/page/%2e%2e/%2e%2e/app.py", "/thumbnail/../about/x", "/samples/-1"]
    )
    answer = http_.get(path)
    return answer.status_code, answer.text if "root:" in answer.text or "import" in answer.text else ""


def script(http_: httpx.Client, known: Known, g: random.Random) -> Answer:
    """A name with a script in it is a name: it is taken, given back as it is, and undone."""
    name = f"<script>alert({g.randrange(10**6)})</script>"
    files = [("images", ("<img src=x onerror=alert(1)>.jpg", known.pictures[0].removesuffix(MARK)))]
    answer = http_.post("/enrol", data={"identity": name, "label": "visitor"}, files=files)
    if answer.status_code != 200 or answer.json()["identity"] != name or "json" not in answer.headers["content-type"]:
        return answer.status_code, f"not taken as a name: {answer.text[:200]}"
    return http_.delete(f"/enrol/{answer.json()['enrolment']}").status_code, ""


Hostile = Callable[[httpx.Client, Known, random.Random], Answer]
HOSTILE: list[tuple[str, int, tuple[int, ...], Hostile]] = [
    ("truncated image", 4, (422,), truncated),
    ("pixel bomb", 4, (413, 422), bombing),
    ("wrong content type", 3, (415,), wrong_type),
    ("no image", 3, (422,), no_image),
    ("wrong JSON", 3, (400, 422), wrong_json),
    ("50 MB", 1, (413,), huge),
    ("slow body", 1, (408,), slow),
    ("wrong token", 3, (401,), wrong_token),
    ("path in a name", 3, (200,), traversal),
    ("path in an address", 2, (401, 404, 405, 422), other_paths),
    ("script in a name", 1, (200,), script),
]
"""Name, weight, the right statuses, and what is sent."""


# --- the load ---------------------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """What came of a load."""

    good: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    hostile: Counter[str] = field(default_factory=Counter)
    leaked: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    opened: set[str] = field(default_factory=set)

    def memory_of_minute(self, minute: int) -> float:
        """Mean MiB from a minute to the next, counted from 0; NaN where it was not reached."""
        found = [mib for at, mib in self.memory if minute * 60 <= at < (minute + 1) * 60]
        return float(np.mean(found)) if found else float("nan")


def one_good(client: triune.Client, known: Known, g: random.Random, tally: Tally, lock: threading.Lock) -> None:
    name, _, ask = g.choices(GOOD, [weight for _, weight, _ in GOOD])[0]
    begun = time.perf_counter()
    try:
        ask(client, known, g)
    except (Wrong, triune.InputError, AssertionError, TypeError) as error:
        with lock:
            tally.wrong[f"{name}: {error}"] += 1
        return
    with lock:
        tally.good[name] += 1
        tally.seconds.append(time.perf_counter() - begun)


def one_hostile(http_: httpx.Client, known: Known, g: random.Random, tally: Tally, lock: threading.Lock) -> None:
    name, _, right, send = g.choices(HOSTILE, [weight for _, weight, _, _ in HOSTILE])[0]
    try:
        status, said = send(http_, known, g)
    except httpx.HTTPError as error:
        status, said = 0, f"{type(error).__name__}: {error}"
    with lock:
        if status in right and "Traceback" not in said and "\n" not in said.strip():
            tally.hostile[name] += 1
        else:
            tally.leaked[f"{name}: {status} {said[:120]}"] += 1


def under_load(server: Server, known: Known, minutes: float, clients: int, say: Callable[[str], None]) -> Tally:
    """A service under mixed load for a while; one request in ten is hostile."""
    tally, lock = Tally(), threading.Lock()
    end = time.monotonic() + 60 * minutes

    def work(number: int) -> None:
        g = random.Random(1000 + number)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with (
            triune.Client(server.url, TOKEN, timeout=120) as client,
            httpx.Client(base_url=server.url, headers=headers, timeout=120) as http_,
        ):
            while time.monotonic() < end:
                if g.random() < 0.1:
                    one_hostile(http_, known, g, tally, lock)
                else:
                    one_good(client, known, g, tally, lock)

    begun = time.monotonic()
    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(clients)]
    for thread in threads:
        thread.start()
    told = 0
    while any(thread.is_alive() for thread in threads):
        at = time.monotonic() - begun
        tally.memory.append((at, resident_mib(server.process.pid)))
        tally.opened |= open_files(server.process.pid)
        if at > 60 * (told + 1):
            told += 1
            with lock:
                counts = tally.good.total(), tally.wrong.total(), tally.hostile.total(), tally.leaked.total()
            say(f"  minute {told}: {counts[0]} good, {counts[1]} wrong, {counts[2]} hostile refused, {counts[3]} not")
        if server.process.poll() is not None or at > 60 * minutes + 180:
            tally.wrong["the service ended, or a client hangs"] += 1
            break
        time.sleep(0.25)
    return tally


# --- kills ------------------------------------------------------------------------------------------------------------


@dataclass
class Killed:
    """What came of enrolments during which the service was killed."""

    answered: int = 0
    unanswered: int = 0
    lost: int = 0
    half: int = 0
    twice: int = 0
    there: int = 0
    unlisted: int = 0


def enrolling(
    url: str, pictures: list[bytes], stop: threading.Event, kill: int, lock: threading.Lock
) -> tuple[list[threading.Thread], dict[str, str], set[str]]:
    """Four clients that enrol one after the other, until nobody answers; identities by key, and the answered keys."""
    sent: dict[str, str] = {}
    answered: set[str] = set()

    def work(number: int) -> None:
        g = random.Random(100 * kill + number)
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60) as http_:
            for turn in range(10_000):
                if stop.is_set():
                    return
                key, who = str(uuid.uuid4()), f"kill {kill} client {number} turn {turn}"
                files = [("images", (f"{k}.jpg", g.choice(pictures))) for k in range(ENROLLED)]
                with lock:
                    sent[key] = who
                try:
                    answer = http_.post("/enrol", data={"identity": who, "key": key}, files=files)
                except httpx.HTTPError:
                    return
                if answer.status_code == 200:
                    with lock:
                        answered.add(key)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(4)]
    for thread in threads:
        thread.start()
    return threads, sent, answered


def kills(
    folder: Path, run: Path, place: Path, pictures: list[bytes], count: int, say: Callable[[str], None]
) -> Killed:
    """Kill a service in the middle of enrolments, again and again, and count what is there."""
    found, g = Killed(), random.Random(5)
    everyone: dict[str, str] = {}
    for kill in range(count):
        with served(folder / f"kill-{kill}", run, "--gallery", place) as server:
            # Those that were not answered are asked for again, by the same key: they must be there once.
            again = [key for key in everyone if key not in found_keys(server.url)][:3]
            with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60) as http_:
                for key in again:
                    files = [("images", (f"{k}.jpg", pictures[k])) for k in range(ENROLLED)]
                    http_.post("/enrol", data={"identity": everyone[key], "key": key}, files=files).raise_for_status()
            stop, lock = threading.Event(), threading.Lock()
            threads, sent, answered = enrolling(server.url, pictures, stop, kill, lock)
            begun = time.monotonic()
            while not answered and time.monotonic() < begun + 60:
                time.sleep(0.01)
            time.sleep(g.uniform(0, 1.5))
            for each in processes_of(server.process.pid):
                os.kill(each, signal.SIGKILL)
            stop.set()
            for thread in threads:
                thread.join(70)
            server.process.wait()
        everyone |= sent
        gallery = triune.Gallery.open(place)
        rows = Counter(gallery.rows("identity is not null")["identity"].to_list())
        found.answered += len(answered)
        found.unanswered += len(sent) - len(answered)
        found.lost += sum(rows[sent[key]] == 0 for key in answered)
        counts = [rows[who] for who in everyone.values()]
        found.half = sum(0 < each < ENROLLED for each in counts)
        found.twice = sum(each > ENROLLED for each in counts)
        found.there = sum(each == ENROLLED for each in counts)
        say(f"  kill {kill + 1}: {len(answered)} answered, {len(sent) - len(answered)} not; {found}")
    with served(folder / "after", run, "--gallery", place) as server:
        listed = found_keys(server.url)
        rows = Counter(triune.Gallery.open(place).rows("identity is not null")["identity"].to_list())
        found.unlisted = sum(rows[who] == ENROLLED and key not in listed for key, who in everyone.items())
    return found


def found_keys(url: str) -> set[str]:
    """The enrolments that a service lists."""
    with triune.Client(url, TOKEN) as client:
        return {str(each["enrolment"]) for each in client.enrolments()}
