"""Which implementation computes what, by type, device and what Triton there is."""

import pytest
import torch

from triune.kernels import paths
from triune.kernels.paths import choose_counting, choose_path


def test_triplets_in_float32_on_the_cpu_are_computed_by_numba():
    x = torch.randn(3, 2)
    assert choose_path(x, x) == "numba"
    assert choose_path(x.half().float(), torch.zeros(0, 2)) == "numba"


def test_everything_else_takes_the_torch_path(monkeypatch):
    x = torch.randn(3, 2)
    assert choose_path(x.double(), x.double()) == choose_path(x, x.double()) == "torch"
    assert choose_path(x * torch.nan, x) == choose_path(x, x * torch.inf) == "torch"
    assert choose_path(x * 1e30, x) == "torch"  # whose squares overflow
    assert choose_path(x.to("meta"), x.to("meta")) == "torch"
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert choose_path(x, x) == "torch"


class OnGpu:
    """What is asked of a tensor on a GPU, where there is none."""

    dtype = torch.float32
    device = torch.device("cuda")


@pytest.mark.parametrize(("has_triton", "path"), [(True, "triton"), (False, "torch")])
def test_a_gpu_computes_by_triton_where_it_can_be_imported(monkeypatch, has_triton, path):
    monkeypatch.setattr(paths, "_has_triton", lambda: has_triton)
    assert choose_path(OnGpu(), OnGpu()) == path
    assert choose_counting(torch.device("cuda", 1)) == path
    assert choose_counting(torch.device("cpu")) == "numba"
    assert choose_counting(torch.device("meta")) == "torch"
