"""What is a tensor is told without importing torch."""

import subprocess
import sys

import numpy as np
import torch

from triune.tensors import is_tensor


def test_tensors_are_told_from_other_things():
    assert is_tensor(torch.zeros(2))
    assert is_tensor(torch.nn.Parameter(torch.zeros(1)))
    assert not any(map(is_tensor, (np.zeros(2), [torch.zeros(2)], None, torch.Tensor)))


def test_nothing_is_imported_for_it():
    code = "import sys; from triune.tensors import is_tensor; print(is_tensor([1]), 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False False\n"
