"""Threads in which torch computes with one thread each, and a sort in threads."""

import threading

import numpy as np
import pytest
import torch

from triune.kernels import threads
from triune.kernels.threads import one_torch_thread_each, sort_in_threads


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_each_thread_computes_with_one_torch_thread_and_results_keep_their_order():
    meet = threading.Barrier(3)  # broken after its time if the three do not run at once

    def work(item):
        meet.wait(timeout=20)
        return item, torch.get_num_threads(), threading.current_thread().name

    with one_torch_thread_each(3) as each:
        results = each(work, ["a", "b", "c"])
    assert [item for item, _, _ in results] == ["a", "b", "c"]
    assert [count for _, count, _ in results] == [1, 1, 1]
    assert len({name for _, _, name in results}) == 3
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
def test_the_number_of_torch_threads_is_put_back_after_an_error():
    def fail(item):
        raise KeyError(item)

    with pytest.raises(KeyError, match="a"), one_torch_thread_each(2) as each:
        each(fail, ["a", "b"])
    assert torch.get_num_threads() == 3
    seen = []
    later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert seen == [3]


@pytest.mark.usefixtures("three_threads")
def test_one_thread_is_the_callers_own_with_all_of_torchs_threads():
    with one_torch_thread_each(1) as each:
        found = each(lambda item: (item, threading.current_thread(), torch.get_num_threads()), [1, 2])
    assert found == [(1, threading.current_thread(), 3), (2, threading.current_thread(), 3)]


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("length", [0, 1, 99, 100, 250, 1000, 1001])
@pytest.mark.parametrize("kind", ["all different", "many equal", "with NaN"])
def test_a_vector_is_sorted_as_by_numpy(monkeypatch, length, kind):
    monkeypatch.setattr(threads, "SORTED_EACH", 100)
    g = np.random.default_rng(length)
    values = g.normal(size=length).astype(np.float32) if kind != "many equal" else g.integers(0, 4, length) * 1.0
    if kind == "with NaN":
        values[g.random(length) < 0.3] = np.nan
    expected = np.sort(values)
    sort_in_threads(values)
    np.testing.assert_array_equal(values, expected)
