"""How kernels are compiled: what arithmetic they keep, and that they compile with and without a place to cache in."""

import importlib.util
import math
import signal

import numpy as np
import pytest
from numba.core import event

from triune.kernels.compiling import compile_kernel

SOURCE = """
def add_up(values):
    total = values[0]
    for k in range(1, len(values)):
        total += values[k]
    return total

def divide(a, b):
    return a / b
"""


@pytest.fixture
def functions(tmp_path, monkeypatch):
    """Functions of a new file: Numba's cache does not notice that flags have changed."""
    monkeypatch.setattr("numba.core.config.CACHE_DIR", "")
    path = tmp_path / "functions.py"
    path.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("functions", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_reassociation_a_sum_is_that_of_one_addition_after_the_other(functions):
    values = np.random.default_rng(0).normal(size=5000).astype(np.float32)
    one_by_one = values[0]
    for value in values[1:]:
        one_by_one = np.float32(one_by_one + value)
    assert compile_kernel({"nsz", "nnan"})(functions.add_up)(values) == one_by_one
    assert one_by_one != np.float32(math.fsum(values.astype(np.float64).tolist()))  # the order matters for these


def test_a_division_by_zero_is_infinite_as_in_numpy(functions):
    divide = compile_kernel(set())(functions.divide)
    assert divide(1.0, 0.0) == math.inf
    assert divide(-1.0, 0.0) == -math.inf


def test_a_kernel_of_a_file_is_cached_beside_it(functions, tmp_path):
    assert compile_kernel(set())(functions.add_up)(np.array([1.0, 2.5])) == 3.5
    assert list((tmp_path / "__pycache__").glob("functions.add_up-*.nbc"))


def test_a_kernel_without_a_place_to_cache_in_compiles_all_the_same():
    names = {}
    exec(compile(SOURCE, "<no file>", "exec"), names)  # Numba finds no file to put a cache beside, and raises
    assert compile_kernel(set())(names["add_up"])(np.array([1.0, 2.5])) == 3.5


class SignalAtTheStart(event.Listener):
    """Sends a signal when a compilation begins."""

    def on_start(self, event):
        signal.raise_signal(signal.SIGTERM)

    def on_end(self, event):
        pass


def test_a_signal_that_comes_while_a_kernel_compiles_takes_effect_once_it_is_compiled(functions):
    def stop(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    add_up = compile_kernel(set())(functions.add_up)
    try:
        with event.install_listener("numba:compile", SignalAtTheStart()), pytest.raises(KeyboardInterrupt):
            add_up(np.array([1.0, 2.5]))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert len(add_up.signatures) == 1
