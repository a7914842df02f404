"""How kernels are compiled: what arithmetic they keep, and that they compile with and without a place to cache in."""

import importlib.util
import math

import numpy as np

from triune.kernels.compiling import compile_kernel

ADD_UP = """
def add_up(values):
    total = values[0]
    for value in values[1:]:
        total += value
    return total
"""


def test_without_reassociation_a_sum_is_that_of_one_addition_after_the_other():
    values = np.random.default_rng(0).normal(size=5000).astype(np.float32)
    one_by_one = values[0]
    for value in values[1:]:
        one_by_one = np.float32(one_by_one + value)

    @compile_kernel({"nsz", "nnan"})
    def add_up(values):
        total = values[0]
        for value in values[1:]:
            total += value
        return total

    assert add_up(values) == one_by_one
    assert one_by_one != np.float32(math.fsum(values.astype(np.float64).tolist()))  # the order matters for these


def test_a_division_by_zero_is_infinite_as_in_numpy():
    @compile_kernel(set())
    def divide(a, b):
        return a / b

    assert divide(1.0, 0.0) == math.inf
    assert divide(-1.0, 0.0) == -math.inf


def test_a_kernel_of_a_file_is_cached_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr("numba.core.config.CACHE_DIR", "")
    path = tmp_path / "adding.py"
    path.write_text(ADD_UP)
    spec = importlib.util.spec_from_file_location("adding", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    kernel = compile_kernel(set())(module.add_up)
    assert kernel(np.array([1.0, 2.5])) == 3.5
    assert list((tmp_path / "__pycache__").glob("*.nbc"))


def test_a_kernel_without_a_place_to_cache_in_compiles_all_the_same():
    names = {}
    exec(compile(ADD_UP, "<no file>", "exec"), names)  # Numba finds no file to put a cache beside, and raises
    kernel = compile_kernel(set())(names["add_up"])
    assert kernel(np.array([1.0, 2.5])) == 3.5
