"""What counts as embeddings, and how they are checked."""

import numpy as np
import pytest
import torch

from triune.distances.embeddings import as_embeddings, check_finite, safe_sqrt, unit, widest


def test_unit_rows_have_length_one_whatever_their_length_was_and_zero_stays_zero():
    x = torch.tensor([[3.0, 4.0], [3e30, 4e30], [3e-30, 4e-30], [0.0, 0.0]])
    torch.testing.assert_close(unit(x), torch.tensor([[0.6, 0.8], [0.6, 0.8], [0.6, 0.8], [0.0, 0.0]]))
    assert unit(torch.empty(3, 0)).shape == (3, 0)


def test_a_row_is_divided_alike_alone_and_among_others():
    x = torch.randn(5000, 37, generator=torch.Generator().manual_seed(0))
    together = unit(x)
    assert all(torch.equal(together[i : i + 1], unit(x[i : i + 1])) for i in range(0, 5000, 37))


def test_gradients_of_lengths_and_roots_are_finite_at_zero():
    x = torch.zeros(2, 3, requires_grad=True)
    unit(x).sum().backward()
    assert torch.equal(x.grad, torch.zeros(2, 3))
    s = torch.tensor([0.0, 4.0], requires_grad=True)
    safe_sqrt(s).sum().backward()
    assert s.grad.tolist() == [0.0, 0.25]


def test_numbers_of_any_kind_become_at_least_float32():
    for given, dtype in ((np.ones((2, 3), np.float16), torch.float32), (torch.ones(2, 3).bfloat16(), torch.float32),
                         (np.ones((2, 3), int), torch.float32), (np.ones((2, 3)), torch.float64)):  # fmt: skip
        assert as_embeddings(given).dtype == dtype
    with pytest.raises(ValueError, match=r"gallery has shape \(3,\)"):
        as_embeddings(np.ones(3), "gallery")
    with pytest.raises(ValueError, match="real embeddings only"):
        as_embeddings(np.ones((2, 2), complex))


def test_rows_that_are_not_finite_are_named_up_to_five():
    x = torch.zeros(40_000, 2)
    check_finite(x)
    x[[3, 20_000]] = torch.nan
    with pytest.raises(ValueError, match=r"queries holds NaN or infinity in 2 of 40000 rows \(rows 3, 20000\)"):
        check_finite(x, "queries")
    x[:9] = torch.inf
    with pytest.raises(ValueError, match=r"rows 0, 1, 2, 3, 4, …"):
        check_finite(x)


def test_products_are_computed_in_the_widest_type_there_is():
    assert widest(torch.zeros(1)) == torch.float64
