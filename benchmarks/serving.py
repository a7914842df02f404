"""The service: throughput and latency beside the engine's own, an hour's mistakes in ten minutes, fuzzing, and kills.

    python benchmarks/serving.py --run RUN                     # all parts; about half an hour
    python benchmarks/serving.py --run RUN --part load kills   # some of: throughput latency load kills fuzz
    python benchmarks/serving.py --run RUN --quick             # small, to see that it runs; a few minutes
    python benchmarks/serving.py --run RUN --write PATH        # also write the parts that ran to a Markdown file

RUN is a finished run; its validation and test items are the pictures. Everything stays on this machine's loopback, and
every part is bounded in number and time. The service runs in a process of its own, with a home, a working folder and a
folder for temporary files of its own.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import numpy as np
from machine import described
from serving_load import (
    BODY_SECONDS,
    ENROLLED,
    MARK,
    TOKEN,
    Server,
    files_with,
    kills,
    known_of,
    processor_seconds,
    served,
    under_load,
)

import triune
from triune.run.split import read_split

PARTS = ("throughput", "latency", "load", "kills", "fuzz")
TITLES = {
    "throughput": "Throughput of /embed",
    "latency": "Latency of /verify",
    "load": "Mixed load",
    "kills": "Killed during enrolments",
    "fuzz": "Fuzzing by the OpenAPI document",
}
PACKAGES = ("torch", "fastapi", "uvicorn", "httpx", "schemathesis", "lancedb")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="a finished run")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--turns", type=int, default=7, help="of engine and service, one after the other")
    parser.add_argument("--pictures", type=int, default=320)
    parser.add_argument("--minutes", type=float, default=10, help="of the load, and of the fuzzing")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--folder", type=Path, help="where galleries are made; a temporary folder where not given")
    parser.add_argument("--write", type=Path, help="Markdown file for the parts that ran; others in it stay")
    options = parser.parse_args()
    if options.quick:
        options.turns, options.pictures, options.minutes, options.kills = 3, 64, 0.5, 2
    report = Report()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        setting = Setting(options.run.resolve(), pictures_of(options.run), Path(folder), options, report)
        for part in PARTS:
            if part in options.part:
                report.begin(part)
                STEPS[part](setting)
                if options.write:
                    report.write(options.write)  # what is done is kept, should a later part fail


class Report:
    """Lines of each part, printed as they come."""

    def __init__(self) -> None:
        self.parts: dict[str, list[str]] = {}
        self.part = ""

    def begin(self, part: str) -> None:
        print(f"\n## {TITLES[part]}\n", flush=True)
        self.part = part
        self.parts[part] = [described(PACKAGES), ""]

    def say(self, line: str) -> None:
        print(line, flush=True)
        self.parts[self.part].append(line)

    def write(self, path: Path) -> None:
        """Put the parts that ran into a file, in the place of what it says of them."""
        text = (
            path.read_text(encoding="utf-8")
            if path.exists()
            else "# The service\n\nWritten by `benchmarks/serving.py`.\n"
        )
        head, *sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
        kept = {section.partition("\n")[0].removeprefix("## "): section.rstrip() + "\n" for section in sections}
        for part, lines in self.parts.items():
            kept[TITLES[part]] = "\n".join([f"## {TITLES[part]}", "", *lines]).rstrip() + "\n"
        order = [title for title in kept if title not in TITLES.values()] + [t for t in TITLES.values() if t in kept]
        path.write_text("\n".join([head.rstrip() + "\n", *(kept[title] for title in order)]), encoding="utf-8")


@dataclass(frozen=True)
class Setting:
    """What all parts need."""

    run: Path
    pictures: list[Path]
    folder: Path
    options: argparse.Namespace
    report: Report

    def gallery(self, name: str, engine: triune.LoadedRun) -> Path:
        """A new gallery of one in three pictures with their classes and identities."""
        items = {Path(each["image"]).resolve(): each for each in items_of(self.run)}
        lines = ["image,label,identity"]
        for path in self.pictures[::3]:
            each = items[path]
            lines.append(f"{path},{each['label'] or ''},{each['identity'] or ''}")
        table = self.folder / f"{name}.csv"
        table.write_text("\n".join(lines) + "\n")
        triune.Gallery.create(self.folder / name, engine, table)
        return self.folder / name


def shown(engine: triune.LoadedRun) -> str:
    """What a run is, without the folder that it lies in."""
    return repr(engine).replace(engine.name, Path(engine.name).name)


def items_of(run: Path) -> list[dict[str, str]]:
    """The items that a run was not trained on."""
    frame = read_split(run)
    if frame is None:
        raise SystemExit(f"{run} keeps no list of its items")
    found: list[dict[str, str]] = [each for each in frame.to_dicts() if each["split"] in ("val", "test")]
    return found


def pictures_of(run: Path) -> list[Path]:
    """Their pictures, in an order by chance that is always the same."""
    paths = [Path(each["image"]).resolve() for each in items_of(run)]
    order = np.random.default_rng(0).permutation(len(paths))
    return [paths[k] for k in order]


# --- throughput and latency -------------------------------------------------------------------------------------------


def body_of(files: Sequence[tuple[str, bytes]]) -> tuple[bytes, dict[str, str]]:
    """A form of pictures, and its headers."""
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{field}"; filename="{k}.jpg"\r\n'.encode()
        + b"Content-Type: image/jpeg\r\n\r\n"
        + content
        + b"\r\n"
        for k, (field, content) in enumerate(files)
    ]
    headers = {"Content-Type": "multipart/form-data; boundary=b", "Authorization": f"Bearer {TOKEN}"}
    return b"".join([*parts, b"--b--\r\n"]), headers


def connected(server: Server) -> http.client.HTTPConnection:
    place = urlsplit(server.url)
    return http.client.HTTPConnection(str(place.hostname), place.port, timeout=300)


def asked(connection: http.client.HTTPConnection, path: str, body: bytes, headers: dict[str, str]) -> bytes:
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise SystemExit(f"{path} answers {answer.status}: {text[:300]!r}")
    return text


def embedded(server: Server, requests: list[tuple[bytes, dict[str, str]]], clients: int) -> tuple[float, list[bytes]]:
    """Seconds that clients need for some requests, each taking the next one, and the answers in order."""
    waiting, lock = iter(range(len(requests))), threading.Lock()
    answers: list[bytes] = [b""] * len(requests)
    start = threading.Barrier(clients + 1)

    def work() -> None:
        connection = connected(server)
        connection.connect()
        start.wait()
        while True:
            with lock:
                number = next(waiting, None)
            if number is None:
                break
            answers[number] = asked(connection, "/embed", *requests[number])
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    start.wait()
    begun = time.perf_counter()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begun, answers


def throughput(setting: Setting) -> None:
    """Engine and service embed the same pictures, one after the other."""
    report, options = setting.report, setting.options
    paths = (setting.pictures * (options.pictures // len(setting.pictures) + 1))[: options.pictures]
    engine = triune.load(setting.run, device="cpu")
    names = [str(path) for path in paths]
    contents = [path.read_bytes() for path in paths]
    right = engine.embed(names)
    report.say(
        f"{len(paths)} pictures (mean {np.mean([len(each) for each in contents]) / 1024:.1f} KiB) through "
        f"{shown(engine)}; {options.clients} clients that each ask again as soon as they are answered; "
        f"{options.turns} turns of engine (`run.embed` in batches of 32, which decodes the next batch meanwhile) and "
        "service. Medians; the ratio is the median over the turns. Clients, service and engine share this machine's "
        "processors.\n"
    )
    report.say(
        "| workers | pictures a request | engine, pictures/s | service, pictures/s | service / engine (quartiles) | "
        "processor ms a picture: engine | service | clients |"
    )
    report.say("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for workers in dict.fromkeys((1, os.cpu_count() or 1)):
        with served(setting.folder / f"throughput-{workers}", setting.run, "--workers", workers) as server:
            for many in (1, 4, 16):
                cut = [contents[k : k + many] for k in range(0, len(contents), many)]
                requests = [body_of([("images", each) for each in part]) for part in cut]
                embedded(server, requests[: 2 * options.clients], options.clients)
                own, its, used = [], [], np.zeros(3)
                for _ in range(options.turns):
                    begun, worked = time.perf_counter(), time.process_time()
                    engine.embed(names)
                    own.append(time.perf_counter() - begun)
                    used[0] += time.process_time() - worked
                    worked, served_before = time.process_time(), processor_seconds(server.process.pid)
                    seconds, answers = embedded(server, requests, options.clients)
                    its.append(seconds)
                    used[1:] += processor_seconds(server.process.pid) - served_before, time.process_time() - worked
                rows = np.concatenate([np.array(json.loads(each)["embeddings"], np.float32) for each in answers])
                off = float(np.abs(rows - right).max())
                ratios = np.array(own) / np.array(its)
                low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
                rates = [f"{len(paths) / median(each):.0f}" for each in (own, its)]
                report.say(
                    f"| {workers} | {many} | {' | '.join(rates)} | {middle:.2f} ({low:.2f} to {high:.2f}) | "
                    + " | ".join(f"{1000 * each / options.turns / len(paths):.1f}" for each in used)
                    + " |"
                )
                if off > 1e-4:
                    raise SystemExit(f"embeddings differ by {off}")
    report.say("\nAll embeddings equal the engine's to 1e-4.")


def latency(setting: Setting) -> None:
    """One verify at a time, beside two embeddings in process, one after the other."""
    report, options = setting.report, setting.options
    engine = triune.load(setting.run, device="cpu")
    paths = setting.pictures[: max(40, 2 * (options.pictures // 2))]
    pairs = list(zip(paths[::2], paths[1::2]))
    with served(setting.folder / "latency", setting.run) as server, triune.Client(server.url, TOKEN) as client:
        connection = connected(server)
        times: dict[str, list[float]] = {"two": [], "verify": [], "http": [], "client": []}

        def timed(name: str, step: Callable[[], object]) -> None:
            begun = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - begun)

        for turn, (a, b) in enumerate([*pairs[:5], *pairs]):
            body, headers = body_of([("first", a.read_bytes()), ("second", b.read_bytes())])
            timed("two", lambda a=a, b=b: engine.embed([str(a), str(b)]))  # type: ignore[misc]
            timed("http", lambda body=body, headers=headers: asked(connection, "/verify", body, headers))  # type: ignore[misc]
            timed("verify", lambda a=a, b=b: engine.verify(str(a), str(b)))  # type: ignore[misc]
            timed("client", lambda a=a, b=b: client.verify(a, b))  # type: ignore[misc]
            if turn == 4:  # all of them are warm
                times = {name: [] for name in times}
        connection.close()
    ms = {name: 1000 * median(each) for name, each in times.items()}
    report.say(f"{len(pairs)} pairs, one at a time, nobody else asking; medians, in turns, {shown(engine)}.\n")
    report.say("| what | ms | times two embeddings |")
    report.say("| --- | --- | --- |")
    for name, words in (
        ("two", "two embeddings in process, `run.embed([a, b])`"),
        ("verify", "`run.verify(a, b)` in process"),
        ("http", "POST /verify over a connection that is open"),
        ("client", "`triune.Client.verify(a, b)`"),
    ):
        ratio = median(np.array(times[name]) / np.array(times["two"]))
        report.say(f"| {words} | {ms[name]:.1f} | {ratio:.2f} |")
    every = 1000 * np.quantile(times["http"], [0.5, 0.95, 0.99])
    report.say(
        f"\nPOST /verify: half within {every[0]:.1f} ms, 95 % within {every[1]:.1f}, 99 % within {every[2]:.1f}."
    )


# --- load, kills, fuzzing ---------------------------------------------------------------------------------------------


def load(setting: Setting) -> None:
    """Mixed load, a tenth of it hostile."""
    report, options = setting.report, setting.options
    engine = triune.load(setting.run, device="cpu")
    place = setting.gallery("load", engine)
    known = known_of(engine, triune.Gallery.open(place, engine), setting.pictures[: min(64, options.pictures)], 0)
    limits = ("--limits.bytes", 20_000_000, "--limits.body_seconds", BODY_SECONDS)
    shared_before = set(os.listdir("/dev/shm"))
    with served(setting.folder / "loaded", setting.run, "--gallery", place, *limits) as server:
        quiet = {str(path.relative_to(server.folders["temp"])) for path in server.folders["temp"].rglob("*")}
        tally = under_load(server, known, options.minutes, options.clients, print)
        written = [each for each in tally.opened if not each.startswith((str(place), str(server.log)))]
        temporary = {str(path.relative_to(server.folders["temp"])) for path in server.folders["temp"].rglob("*")}
        working = [str(path) for path in server.folders["work"].rglob("*")]
    marked = files_with(MARK, [*server.folders.values(), place, server.log])
    marked += files_with(MARK, [Path("/dev/shm") / each for each in set(os.listdir("/dev/shm")) - shared_before])
    third, last = tally.memory_of_minute(2), tally.memory_of_minute(int(options.minutes) - 1)
    times = 1000 * np.quantile(tally.seconds or [0.0], [0.5, 0.95, 0.99])
    report.say(
        f"{options.minutes:g} minutes, {options.clients} clients, {shown(engine)}; a gallery of "
        f"{len(setting.pictures[::3])} pictures. Nine requests in ten are good and compared with what the Python "
        "object says of the same pictures; one is hostile and must be refused, or answered as harmless, in one line.\n"
    )
    report.say("| good requests | answered and right | hostile requests | refused as they should be |")
    report.say("| --- | --- | --- | --- |")
    for good, hostile in zip_longest(sorted(tally.good), sorted(tally.hostile)):
        own = f"{good} | {tally.good[good]:,}" if good else " | "
        report.say(f"| {own} | {hostile} | {tally.hostile[hostile]:,} |" if hostile else f"| {own} | | |")
    report.say(
        f"| **all** | {tally.good.total():,}, {tally.wrong.total()} wrong or unanswered | **all** | "
        f"{tally.hostile.total():,}, {tally.leaked.total()} not |"
    )
    report.say(
        f"\nHalf of the good ones within {times[0]:.0f} ms, 95 % within {times[1]:.0f}, 99 % within {times[2]:.0f}."
    )
    for what, count in [*tally.wrong.most_common(10), *tally.leaked.most_common(10)]:
        report.say(f"- {count} times: {what}")
    if np.isnan(third) or int(options.minutes) <= 3:
        report.say("\nToo short to compare the memory of the last minute with that of the third.")
    else:
        minutes = [f"{tally.memory_of_minute(k):.0f}" for k in range(int(options.minutes))]
        report.say(
            f"\nMemory of the service, mean of each minute: {', '.join(minutes)} MiB. The last is "
            f"{last / third - 1:+.1%} of the third."
        )
    listed = [
        ("pictures that were not enrolled, looked for by a mark in them (folder, home, temporary files, gallery, log, "
         "shared memory)", marked),
        ("files left in the folder for temporary files", sorted(temporary - quiet)),
        ("files left in the working folder", working),
        ("other files that it held open for writing at any time", written),
    ]  # fmt: skip
    report.say("\nOn disk:\n")
    for what, names in listed:
        report.say(f"- {what}: {', '.join(names[:5]) + (' …' if names[5:] else '') if names else 'none'}")


def zip_longest(one: list[str], other: list[str]) -> list[tuple[str, str]]:
    count = max(len(one), len(other))
    return list(zip(one + [""] * (count - len(one)), other + [""] * (count - len(other))))


def killed(setting: Setting) -> None:
    """Kill it during enrolments."""
    report, options = setting.report, setting.options
    engine = triune.load(setting.run, device="cpu")
    place = setting.gallery("kills", engine)
    pictures = [path.read_bytes() for path in setting.pictures[:40]]
    found = kills(setting.folder / "killed", setting.run, place, pictures, options.kills, print)
    report.say(
        f"A service was killed (SIGKILL) {options.kills} times while four clients enrolled {ENROLLED} pictures at a "
        "time, up to 1.5 s after its first answer, and started again on the same gallery. Some that had not been "
        "answered were sent again by their keys.\n"
    )
    report.say(
        "| answered | of these lost | not answered | half there | there twice | whole in the gallery | not listed |"
    )
    report.say("| --- | --- | --- | --- | --- | --- | --- |")
    report.say(
        f"| {found.answered} | {found.lost} | {found.unanswered} | {found.half} | {found.twice} | {found.there} | "
        f"{found.unlisted} |"
    )


def fuzz(setting: Setting) -> None:
    """Schemathesis makes requests of the OpenAPI document, good and bad ones."""
    report, options = setting.report, setting.options
    engine = triune.load(setting.run, device="cpu")
    place = setting.gallery("fuzz", engine)
    seconds = max(10, int(60 * options.minutes))
    with served(setting.folder / "fuzzed", setting.run, "--gallery", place, "--limits.body_seconds", 4) as server:
        command = [
            *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{server.url}/openapi.json"),
            *("--header", f"Authorization: Bearer {TOKEN}", "--max-time", str(seconds), "--seed", "0"),
            *("--checks", "not_a_server_error,response_schema_conformance,status_code_conformance"),
            *("--request-timeout", "60", "--continue-on-failure", "--workers", "1", "--no-color"),
            *("--generation-database", "none"),
        ]
        # What is sent as an image is one, as a rule: noise alone would not get past the reading of images.
        path = os.pathsep.join([str(Path(__file__).parents[1] / "tests"), os.environ.get("PYTHONPATH", "")])
        env = os.environ | {"SCHEMATHESIS_HOOKS": "web.fuzzed_images", "PYTHONPATH": path}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds + 300, cwd=setting.folder, env=env
        )
        alive = server.process.poll() is None
        last = triune.Client(server.url, TOKEN).ready()
    print(done.stdout[-6000:])
    cases = re.search(r"(\d[\d,]*) generated", done.stdout)
    report.say(
        f"`schemathesis run` for {options.minutes:g} minutes, seed 0: "
        f"{cases[1] if cases else 'unknown number of'} cases. Afterwards the service is "
        f"{'ready' if alive and last else 'NOT ready'}.\n"
    )
    summary = re.sub(r"^=+.*$", "", done.stdout.rpartition("SUMMARY")[2], flags=re.MULTILINE).strip()
    report.say("```text\n" + re.sub(r"http://127\.0\.0\.1:\d+", "http://127.0.0.1", summary) + "\n```")


STEPS = {"throughput": throughput, "latency": latency, "load": load, "kills": killed, "fuzz": fuzz}


if __name__ == "__main__":
    main()
