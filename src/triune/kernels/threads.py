"""Python threads for torch products and Numba kernels, which both let go of the GIL."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import torch

# With fewer values for each, starting threads takes longer than they save.
SORTED_EACH = 1 << 18


Map: TypeAlias = Callable[[Callable[..., Any], Iterable[Any]], list[Any]]


@contextmanager
def one_torch_thread_each(threads: int) -> Iterator[Map]:
    """A map over so many threads, in which torch computes with one thread; with one thread, a plain map.

    A product by all of torch's threads at once would leave them spinning for a while on the cores that the Numba work
    after it needs. Numba's own parallel loops abort the process after a fork (OpenMP) or when two threads call them
    (workqueue), and take ten times as long to compile.

    Gradient mode and inference mode are a thread's own: work that writes to the caller's tensors sets what it needs.
    """
    if threads <= 1:
        yield lambda work, items: [work(item) for item in items]
        return
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield lambda work, items: list(pool.map(work, items))
    finally:
        # In the threads of the pool alone; but the number is also what threads that start later begin with.
        torch.set_num_threads(before)


def sort_in_threads(values: Any) -> None:
    """Sort a NumPy vector in place, ascending, NaN last: parts whose values lie one above another, a thread each."""
    parts = max(1, min(torch.get_num_threads(), len(values) // SORTED_EACH))
    ends = [len(values) * part // parts for part in range(parts + 1)]
    if parts > 1:
        values.partition(ends[1:-1])
    with one_torch_thread_each(parts) as each:
        each(np.ndarray.sort, [values[begin:end] for begin, end in pairwise(ends)])
