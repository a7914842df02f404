"""Approximate search beyond a million rows: FAISS's inverted lists of product-quantised rows, re-scored exactly.

The rows are parted into cells about the centres of a k-means; a query looks into the cells nearest to it, where rows
are compared by 4-bit codes, and the best candidates are scored again from their embeddings. How many cells it looks
into is chosen when the index is built: the fewest with which a sample of the gallery's own rows finds the share
:data:`WANTED` of its true neighbours. What was reached is kept beside the index and told.
"""

import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from triune.checksums import digest as file_digest
from triune.distances.metric import Metric
from triune.errors import InputError
from triune.files import Record, read_record, remove_leftovers, write_record, written_whole
from triune.ranges import Count, PositiveInt, Share
from triune.serving.gallery.exact import Candidates, ExactSearch, nearest, rescored
from triune.serving.libraries import library

Array: TypeAlias = np.ndarray[Any, Any]

MOST_EXACT: Final = 1_000_000
"""Rows that are searched exactly where nothing else is asked for."""

LEAST: Final = 10_000
"""Rows below which cells gain nothing: these are searched exactly, whatever is asked for."""

WANTED: Final = 0.97
"""Of the true ten nearest neighbours, on the sample: two points above what is promised (0.95)."""

NEIGHBOURS: Final = 10
SAMPLE: Final = 500
GROWTH: Final = 1.25
"""Rows that were only added since are put into the index that there is, until it has grown by so much."""

GAIN: Final = 0.002
"""Twice the cells that find no more than this are no gain."""

A_CENTRE: Final = 48
"""Rows that a centre is fitted to."""

FACTORS: Final = (10, 40, 160)
"""Candidates that are scored again for each row that is asked for: the fewest with which enough is found."""

FILE: Final = "approximate.faiss"
ABOUT: Final = "approximate.json"


class AboutIndex(Record):
    """What an index beside a gallery was built from, and how well it finds.

    Args:
        fingerprint: of the network of the gallery.
        version: of the gallery.
        count: rows.
        digest: of the embeddings of these rows, in their order.
        file: of the index's file. FAISS reads numbers of rows from it as they stand, and a damaged one may name rows
            that there are not.
        tuned: how many rows there were when cells and candidates were chosen.
        cells: that the rows are parted into.
        probed: cells that a query looks into.
        factor: candidates that are scored again, for each row that is asked for.
        recall: the share of the ten nearest neighbours that is found, on a sample of the gallery's rows.
    """

    format: Literal[2] = 2
    fingerprint: str
    version: Count
    count: PositiveInt
    digest: str
    file: str
    tuned: PositiveInt
    cells: PositiveInt
    probed: PositiveInt
    factor: PositiveInt
    recall: Share


@dataclass(frozen=True, eq=False)
class ApproximateSearch:
    """Search in the nearest cells.

    Args:
        x: ``(N, D)`` float32, of unit length.
        metric: the distance.
        index: of FAISS.
        about: what it was built from.
    """

    x: Array
    metric: Metric
    index: Any
    about: AboutIndex

    def nearest(self, queries: Array, k: int, among: Array | None = None) -> tuple[Array, Array]:
        """The k most alike rows of each query, as far as they are found; see :meth:`ExactSearch.nearest`.

        Args:
            queries: ``(Q, D)`` float32, of unit length.
            k: how many.
            among: the rows that may be found, which are searched exactly; all where not given.

        Returns:
            Scores ``(Q, k)`` float32 and rows ``(Q, k)``; −∞ and −1 where fewer were found.
        """
        if among is not None:
            return ExactSearch(self.x, self.metric).nearest(queries, k, among)
        k = min(k, len(self.x))
        products, rows = self.index.search(queries, min(len(self.x), max(self.about.factor * k, 100)))
        return rescored(Candidates(products, rows, self.x), queries, k, self.metric)


def approximate_search(
    x: Array, metric: Metric, fingerprint: str, version: int, folder: Path | None
) -> ApproximateSearch:
    """The index that lies beside a gallery, where it is of the same version; else a new one, which is then kept there.

    Where rows were only added since, they are added to the index that there is.

    Args:
        x: ``(N, D)``, at least :data:`LEAST` rows.
        metric: the distance.
        fingerprint: of the network.
        version: of the gallery.
        folder: where it is kept; nowhere where not given.
    """
    stored = None if folder is None else _stored(folder, fingerprint, x.shape[1])
    if stored is not None and (stored[1].version, stored[1].count) == (version, len(x)):
        return ApproximateSearch(x, metric, *stored)
    if stored is not None and _is_longer(x, stored[1]):
        index, about = stored
        index.add(x[about.count :])
    else:
        index, cells = _built(x)
        about = AboutIndex(
            fingerprint=fingerprint,
            version=version,
            count=len(x),
            digest="",
            file="",
            tuned=len(x),
            cells=cells,
            probed=cells,
            factor=1,
            recall=0,
        )
        about = _tuned(index, x, about)
    about = about.model_copy(update={"version": version, "count": len(x), "digest": _digest(x)})
    if folder is not None:
        with contextlib.suppress(OSError):  # a folder that cannot be written to: it is built anew the next time
            about = _keep(folder, index, about)
    return ApproximateSearch(x, metric, index, about)


def _is_longer(x: Array, about: AboutIndex) -> bool:
    """Whether the rows of an index are the first of these, and not much fewer."""
    return about.count <= len(x) <= GROWTH * about.tuned and _digest(x[: about.count]) == about.digest


def _digest(x: Array) -> str:
    return hashlib.blake2b(np.ascontiguousarray(x).data, digest_size=16).hexdigest()


def _built(x: Array) -> tuple[Any, int]:
    """A trained index that holds all rows, and the number of its cells."""
    faiss = library("faiss", "gallery")
    n, d = x.shape
    cells = max(16, 1 << int(np.log2(4 * np.sqrt(n))))
    wide = 4 if d >= 64 else 2  # numbers that share a code of 4 bits
    codes = f"PQ{d // wide}x4fs" if d % wide == 0 and d >= 16 else "SQ8"
    index = faiss.index_factory(d, f"IVF{cells},{codes}", faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = 10
    g = np.random.default_rng(0)
    index.train(x[np.sort(g.choice(n, min(n, A_CENTRE * cells), replace=False))])
    index.add(x)
    return index, cells


def _tuned(index: Any, x: Array, about: AboutIndex) -> AboutIndex:
    """How many cells and candidates find enough of the sample's neighbours, and the share that they find.

    For each number of candidates the cells are doubled as long as that finds more.
    """
    g = np.random.default_rng(1)
    own = np.sort(g.choice(len(x), min(SAMPLE, len(x)), replace=False))
    queries, k = x[own], NEIGHBOURS + 1
    _, true = nearest(x, queries, k, "cosine")
    wanted = [set(row.tolist()) - {mine} for row, mine in zip(true, own.tolist())]
    best = about
    for factor in FACTORS:
        before, probed = -1.0, 8
        while True:
            index.nprobe = min(about.cells, probed)
            products, rows = index.search(queries, min(len(x), factor * k))
            _, found = rescored(Candidates(products, rows, x), queries, k, "cosine")
            shares = [len(each & set(row.tolist())) / len(each) for each, row in zip(wanted, found)]
            recall = float(np.mean(shares))
            if recall > best.recall:
                best = about.model_copy(update={"probed": int(index.nprobe), "factor": factor, "recall": recall})
            if recall >= WANTED or index.nprobe == about.cells or recall < before + GAIN:
                break
            before, probed = recall, 2 * probed
        if best.recall >= WANTED:
            break
    index.nprobe = best.probed
    return best


def _keep(folder: Path, index: Any, about: AboutIndex) -> AboutIndex:
    """Write an index, and what is said of it, which then also tells its file."""
    faiss = library("faiss", "gallery")
    with contextlib.suppress(FileNotFoundError):
        (folder / ABOUT).unlink()  # so that at no time it speaks of another index
    with written_whole(folder / FILE) as temporary:
        faiss.write_index(index, str(temporary))
        about = about.model_copy(update={"file": file_digest(temporary)})
    write_record(folder / ABOUT, about)
    return about


def _stored(folder: Path, fingerprint: str, dim: int) -> tuple[Any, AboutIndex] | None:
    faiss = library("faiss", "gallery")
    remove_leftovers(folder, FILE)
    try:
        about = read_record(folder / ABOUT, AboutIndex)
        if file_digest(folder / FILE) != about.file:
            return None
        index = faiss.read_index(str(folder / FILE))
    except (InputError, OSError, RuntimeError):  # none, or a damaged one: another is built
        return None
    if about.fingerprint != fingerprint or index.ntotal != about.count or index.d != dim:
        return None
    if not about.probed <= about.cells == index.nlist:  # changed by hand
        return None
    index.nprobe = about.probed
    return index, about
