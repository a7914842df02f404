"""A gradient that is the first derivative and refuses to be a second one."""

import pytest
import torch

from triune.losses.derivatives import first_derivative_only


def test_the_gradient_passes_and_its_derivative_is_refused():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    gradient = first_derivative_only(torch.tensor([3.0, 4.0]), x, "no second derivative of this")
    assert gradient.tolist() == [3.0, 4.0]
    with pytest.raises(RuntimeError, match="no second derivative of this"):
        gradient.sum().backward()
