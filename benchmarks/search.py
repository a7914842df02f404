"""Galleries: building, opening, exact and approximate search, adding, memory, and what survives being killed.

    python benchmarks/search.py                # 10,000 to 1,000,000 rows; 20 to 30 minutes
    python benchmarks/search.py --quick        # small, to see that it runs
    python benchmarks/search.py --write PATH   # also write the tables to a Markdown file

Exact search is timed against bare FAISS (IndexFlatIP) on the same queries, in turns within one process, so that a slow
minute of the machine slows both; medians are given, and the ratio of them. Memory is that of a process which does
nothing else.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import TypeVar

import numpy as np
import polars as pl
from machine import described, own_peak

from triune.serving.gallery.card import OWN, STAMP, GalleryCard
from triune.serving.gallery.gallery import Gallery
from triune.serving.gallery.places import create_store, open_store
from triune.serving.gallery.store import Batch

SIZES = ((10_000, 128), (100_000, 128), (100_000, 512), (1_000_000, 128))
QUICK = ((2_000, 32), (12_000, 32))
K = 10
AT_ONCE = 10_000
A_KILL = 500
T = TypeVar("T")
COLUMNS = dict.fromkeys(OWN, pl.String()) | {"price": pl.Float64()} | dict.fromkeys(STAMP, pl.Int64())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, default=100, help="searched for at once, and one by one")
    parser.add_argument("--repeats", type=int, default=15, help="turns of each contender")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--folder", type=Path, help="where galleries are made; a temporary folder where not given")
    parser.add_argument("--write", type=Path, help="Markdown file for the tables")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--place", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        PARTS[options.part](options)
        return
    if options.quick:
        options.queries, options.repeats, options.kills = 20, 3, 3
    report = Report()
    report.say(f"# Search in galleries\n\n{described(('faiss-cpu', 'lancedb', 'pyarrow', 'numpy', 'polars', 'torch'))}")
    report.say(
        f"\nRows lie about centres of twenty (noise 0.7 of a centre's length), float32, cosine, k = {K}. Searches are "
        f"timed in processor time, which other programs on the machine hardly change; medians of {options.repeats} "
        "turns (5 at a million rows). All else is wall time, on a machine that others used, too. `array` is the "
        "gallery's search on arrays, `hits` the whole of `gallery.search` with paths, labels and columns of each hit; "
        "ratios are to the faster of FAISS's own two ways."
    )
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        kills(report, options, Path(folder) / "killed")
        sizes = QUICK if options.quick else SIZES
        for n, d in sizes:
            place = Path(folder) / f"{n}x{d}"
            one_size(report, options, place, n, d)
            if (n, d) != sizes[-1]:
                shutil.rmtree(place)
    if options.write:
        options.write.write_text("\n".join(report.lines) + "\n", encoding="utf-8")


class Report:
    """Lines, printed as they come and kept."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        print(line, flush=True)
        self.lines.append(line)


def rows_about_centres(n: int, d: int, seed: int) -> np.ndarray:
    """Unit rows; row i lies about centre i modulo N / 20. Another seed gives other rows about the same centres."""
    centres = np.random.default_rng(0).normal(size=(max(1, n // 20), d)).astype(np.float32)
    x = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    x *= np.float32(0.7)
    x += centres[np.arange(n) % len(centres)]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x


def batch(x: np.ndarray, start: int, word: str = "row") -> Batch:
    names = [f"{word}/{number:08d}.jpg" for number in range(start, start + len(x))]
    frame = pl.DataFrame(
        {"image": names, "label": [f"class {k % 50}" for k in range(len(x))], "price": np.arange(len(x)) % 97.0}
    )
    frame = frame.with_columns(
        pl.lit(None, dtype=kind).alias(name) for name, kind in COLUMNS.items() if name not in frame.columns
    )
    return Batch(frame, x, [None] * len(x))


def card(d: int) -> GalleryCard:
    return GalleryCard(fingerprint="benchmark", source="benchmark", metric="cosine", dim=d)


def built(place: Path, x: np.ndarray) -> float:
    """Seconds to write a gallery in batches."""
    start = time.perf_counter()
    store = create_store(str(place), card(x.shape[1]), COLUMNS)
    for first in range(0, len(x), AT_ONCE):
        store.put(batch(x[first : first + AT_ONCE], first))
    store.tidy()
    return time.perf_counter() - start


def seconds(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def in_turns(steps: dict[T, Callable[[], object]], repeats: int) -> dict[T, float]:
    """Median processor seconds of each."""
    for step in steps.values():
        step()
    times: dict[T, list[float]] = {name: [] for name in steps}
    for turn in range(repeats):
        for name in list(steps) if turn % 2 else list(steps)[::-1]:
            start = time.process_time()
            steps[name]()
            times[name].append(time.process_time() - start)
    return {name: median(each) for name, each in times.items()}


def one_size(report: Report, options: argparse.Namespace, place: Path, n: int, d: int) -> None:
    import faiss

    turns = max(min(5, options.repeats), min(options.repeats, options.repeats * 100_000 // n))
    x = rows_about_centres(n, d, 1)
    building = built(place, x)
    report.say(f"\n## {n:,} x {d}\n")
    gallery = Gallery.open(place, approximate=False)
    opening = seconds(lambda: gallery.search(x[:1], k=K))
    flat = faiss.IndexFlatIP(d)
    adding = seconds(lambda: flat.add(x))
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    report.say(
        f"Written in {building:.1f} s ({size / 2**20:.0f} MiB on disk); opened, with a first search, in {opening:.2f} "
        f"s (FAISS takes {adding:.2f} s to copy rows that are in memory)."
    )
    picked = np.random.default_rng(2).choice(n, options.queries, replace=False)
    queries = rows_about_centres(n, d, 3)[picked]
    searcher = gallery._searcher()
    report.say("\n| queries | IndexFlatIP ms | faiss.knn ms | array ms | hits ms | array / FAISS | hits / FAISS |")
    report.say("| --- | --- | --- | --- | --- | --- | --- |")
    for many in (1, options.queries):
        asked = queries[:many]
        steps = {
            "flat": partial(flat.search, asked, K),
            "knn": partial(faiss.knn, asked, x, K, metric=faiss.METRIC_INNER_PRODUCT),
            "array": partial(searcher.nearest, asked, K),
            "hits": partial(gallery.search, asked, k=K),
        }
        found = in_turns(steps, turns * (3 if many == 1 else 1))
        shown = " | ".join(f"{1000 * each:.2f}" for each in found.values())
        bare = min(found["flat"], found["knn"])
        report.say(f"| {many} | {shown} | {found['array'] / bare:.2f} | {found['hits'] / bare:.2f} |")
    _, rows = searcher.nearest(queries, K)
    _, expected = flat.search(queries, K)
    same = np.mean([set(a) == set(b) for a, b in zip(rows.tolist(), expected.tolist())])
    report.say(f"\nThe same ten rows as FAISS for {same:.1%} of the queries.")
    approximate(report, options, place, queries, expected, found)
    if n == max(size for size, _ in (QUICK if options.quick else SIZES)):
        adding_rows(report, gallery, n, d)
    memory = {part: peak(part, place, options) for part in ("imports", "exact")}
    report.say(
        f"\nPeak memory of a process that opens and searches: {memory['exact']:.0f} MiB, of which imports take "
        f"{memory['imports']:.0f}; the rows alone are {n * d * 4 / 2**20:.0f}."
    )


def approximate(
    report: Report,
    options: argparse.Namespace,
    place: Path,
    queries: np.ndarray,
    expected: np.ndarray,
    exact: dict[str, float],
) -> None:
    quick = Gallery.open(place, approximate=True)
    building = seconds(lambda: quick.recall)
    if quick.recall is None:
        report.say("\nToo few rows for approximate search: they are searched exactly.")
        return
    again = Gallery.open(place, approximate=True)
    reopening = seconds(lambda: again.recall)
    search = quick._searcher()
    _, rows = search.nearest(queries, K)
    recall = np.mean([len(set(a) & set(b)) / K for a, b in zip(rows.tolist(), expected.tolist())])
    counts = (1, len(queries))
    times = in_turns({many: partial(search.nearest, queries[:many], K) for many in counts}, options.repeats)
    about = search.about
    report.say(
        f"\nApproximate: built in {building:.1f} s, opened again in {reopening:.1f} s; {about.cells} cells of which "
        f"{about.probed} are probed, {about.factor} candidates a hit. Recall of the ten nearest: {recall:.3f} on these "
        f"queries, {about.recall:.3f} told from its own sample. {1000 * times[1]:.2f} ms for one query, "
        f"{1000 * times[len(queries)]:.2f} ms for {len(queries)} ({exact['array'] / times[len(queries)]:.1f} times "
        "faster than exact)."
    )


def adding_rows(report: Report, gallery: Gallery, n: int, d: int) -> None:
    store = open_store(gallery.name)
    more = rows_about_centres(AT_ONCE, d, 9)
    adding = both_clocks(lambda: store.put(batch(more, 0, "new")))
    updating = both_clocks(lambda: store.put(batch(more, 0, "new")))
    assert gallery.refresh()
    reading = both_clocks(lambda: gallery.search(more[:1], k=K))
    assert gallery.count == n + AT_ONCE
    quick = Gallery.open(gallery.name, approximate=True)
    indexing = both_clocks(lambda: quick.search(more[:1], k=K))
    report.say(
        f"\nAdding {AT_ONCE:,} rows to {n:,}: {adding}; writing the same again as updates: {updating}; taking them up "
        f"in a process that had it open, with an exact search: {reading}; reading all and putting them into the "
        f"approximate index, with a search: {indexing}. Processor time is in brackets."
    )


def both_clocks(step: Callable[[], object]) -> str:
    """Wall and processor seconds, in words."""
    start, used = time.perf_counter(), time.process_time()
    step()
    return f"{time.perf_counter() - start:.2f} s ({time.process_time() - used:.2f})"


def kills(report: Report, options: argparse.Namespace, place: Path) -> None:
    """Kill a process in the middle of its adds, again and again, and count what is there."""
    create_store(str(place), card(32), COLUMNS)
    g = np.random.default_rng(4)
    committed, lost, half, waits = 0, 0, 0, []
    for kill in range(options.kills):
        command = [sys.executable, __file__, "--part", "add", "--place", f"{place}::{kill}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        process.stdout.readline()
        waits.append(float(g.uniform(0, 0.5)))
        time.sleep(waits[-1])
        process.send_signal(signal.SIGKILL)
        reported = 1 + len(process.stdout.readlines())
        process.wait()
        store = open_store(str(place))
        snapshot = store.read()
        names = snapshot.frame.filter(pl.col("image").str.starts_with(f"kill {kill}/"))
        there, rest = divmod(len(names), A_KILL)
        committed += there
        lost += max(0, reported - there)
        half += rest != 0
        x = store.embeddings(snapshot)[names["row"].to_numpy()]
        numbers = names["image"].str.extract(r"/(\d+)\.jpg").cast(pl.Int64).to_numpy()
        half += not np.allclose(x[:, 0], numbers % 1000 / 1000)
    report.say(
        f"\n## Killed in the middle of adds\n\n{options.kills} processes that added {A_KILL} rows a batch were killed "
        f"(SIGKILL) up to {max(waits):.2f} s after their first batch: {committed} batches are there, {lost} that had "
        f"been reported are lost, {half} are half there."
    )


def part_add(options: argparse.Namespace) -> None:
    place, _, kill = options.place.partition("::")
    store = open_store(place)
    for number in range(100_000):
        numbers = np.arange(number * A_KILL, (number + 1) * A_KILL)
        x = np.repeat((numbers % 1000 / 1000).astype(np.float32)[:, None], 32, axis=1)
        store.put(batch(x, number * A_KILL, f"kill {kill}"))
        print(number, flush=True)


def part_exact(options: argparse.Namespace) -> None:
    gallery = Gallery.open(options.place)
    gallery.search(np.ones((100, gallery.dim), np.float32), k=K)
    print(own_peak())


def part_imports(options: argparse.Namespace) -> None:
    import faiss
    import lancedb

    assert faiss
    assert lancedb
    print(own_peak())


PARTS = {"add": part_add, "exact": part_exact, "imports": part_imports}


def peak(part: str, place: Path, options: argparse.Namespace) -> float:
    """Peak MiB of a fresh process."""
    command = [sys.executable, __file__, "--part", part, "--place", str(place)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])


if __name__ == "__main__":
    os.environ.setdefault("LANCE_LOG", "error")
    main()
