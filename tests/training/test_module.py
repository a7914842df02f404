import pytest
import torch

from triune.training.module import Validated, as_good, collapse, in_order, validation_figures


def test_a_validation_within_one_standard_error_of_the_best_is_as_good():
    error = (0.9 * 0.1 / 400) ** 0.5 * 1.012  # with two identities more on either side: (362/404 · 42/404 / 404)^½
    assert as_good(0.9 - 0.99 * error, 0.9, 400)
    assert not as_good(0.9 - 1.01 * error, 0.9, 400)
    assert as_good(0.95, 0.9, 400)


def test_near_a_perfect_tpr_the_error_does_not_vanish():
    assert as_good(1.0, 1.0, 300)
    assert as_good(0.9955, 1.0, 300)  # 302/304 · 2/304 / 304 is 0.00464²
    assert not as_good(0.9952, 1.0, 300)
    assert as_good(0.05, 0.0, 10)
    assert not as_good(0.80, 1.0, 10)


def test_without_a_figure_nothing_is_chosen():
    assert not as_good(float("nan"), 0.0, 100)
    assert not as_good(0.5, 0.0, 0)


def test_collapse_is_1_in_one_point_and_0_when_spread_evenly():
    point = torch.nn.functional.normalize(torch.ones(5, 3), dim=1)
    assert float(collapse(point)) == pytest.approx(1.0)
    assert float(collapse(torch.cat([torch.eye(3), -torch.eye(3)]))) == pytest.approx(0.0)


def test_items_that_make_no_pair_of_a_kind_have_no_figures():
    x = torch.eye(3)
    for identities in ([0, 0, 0], [0, 1, 2], []):
        tpr, auc = validation_figures(x[: len(identities)], torch.tensor(identities), "cosine", 0.05)
        assert tpr != tpr
        assert auc != auc


def test_what_processes_validated_is_put_in_order_and_counted_once():
    def part(first, count):
        rows = torch.arange(first, first + count)
        return Validated(rows, torch.zeros(2), torch.zeros(count, 4), rows)

    parts = [part(0, 3), part(6, 2), part(3, 3), part(0, 3)]  # the last process had nothing of its own
    assert torch.cat([each.rows for each in in_order(parts)]).tolist() == list(range(8))
