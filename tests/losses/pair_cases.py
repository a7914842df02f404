"""Every loss of pairs with its formula as loops, the batches they are tried on, and how the two are compared."""

import numpy as np
import pytest
import torch

from oracles import (
    brute_circle,
    brute_contrastive,
    brute_fast_ap,
    brute_lifted,
    brute_margin,
    brute_mined_multi_similarity,
    brute_multi_similarity,
    brute_n_pairs,
    brute_nt_xent,
    brute_smooth_ap,
    brute_sup_con,
    listed_pairs,
    positives_and_negatives,
    tied_batch,
)
from triune import losses as ours
from triune.distances.embeddings import unit


def margin_of_all_pairs(x, y, reference=None, reference_labels=None, pairs=None, **where):
    """The margin loss of every pair: the other losses' batch, without the draws."""
    if pairs is None:
        P, N = positives_and_negatives(y, reference_labels, where.get("own_rows"))
        pairs = listed_pairs(P) + listed_pairs(N)
    return ours.margin_loss(
        x, y, beta=1.1, pairs=pairs, reference=reference, reference_labels=reference_labels, **where
    )


CASES = {
    "contrastive": (
        lambda *args: brute_contrastive(*args, 0.1, 0.9),
        lambda x, y, **k: ours.contrastive_loss(x, y, positive_margin=0.1, negative_margin=0.9, **k),
    ),
    "squared contrastive": (
        lambda *args: brute_contrastive(*args, power=2),
        lambda x, y, **k: ours.contrastive_loss(x, y, power=2, **k),
    ),
    "lifted structure": (
        brute_lifted,
        lambda x, y, **k: ours.lifted_structure_loss(x, y, positive_margin=0.1, negative_margin=0.9, **k),
    ),
    "n-pairs": (brute_n_pairs, lambda x, y, **k: ours.n_pairs_loss(x, y, l2=0.3, **k)),
    "multi-similarity": (
        brute_multi_similarity,
        lambda x, y, **k: ours.multi_similarity_loss(x, y, beta=30, base=0.4, **k),
    ),
    "mined multi-similarity": (
        brute_mined_multi_similarity,
        lambda x, y, **k: ours.multi_similarity_loss(x, y, beta=30, base=0.4, mining=True, epsilon=0.2, **k),
    ),
    "nt-xent": (brute_nt_xent, lambda x, y, **k: ours.nt_xent_loss(x, y, temperature=0.2, **k)),
    "sup-con": (brute_sup_con, lambda x, y, **k: ours.sup_con_loss(x, y, temperature=0.2, **k)),
    "circle": (brute_circle, lambda x, y, **k: ours.circle_loss(x, y, gamma=8.0, **k)),
    "margin": (brute_margin, margin_of_all_pairs),
    "smooth-ap": (brute_smooth_ap, lambda x, y, **k: ours.smooth_ap_loss(x, y, temperature=0.1, **k)),
    "fast-ap": (brute_fast_ap, ours.fast_ap_loss),
}
WITH_REFERENCE = [name for name in CASES if name != "n-pairs"]


def batch(seed=0, n=14, classes=4, d=5):
    """Raw embeddings, not yet unit, and labels that may leave a class one item."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g).double(), torch.randint(0, classes, (n,), generator=g)


def tied(seed):
    """Duplicates and many equal distances, all exact."""
    x, y = tied_batch(np.random.default_rng(seed), "cosine")
    return torch.from_numpy(x[:16]), torch.from_numpy(y[:16])


def value_and_gradients(loss, *leaves):
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    value = torch.as_tensor(loss(*map(unit, leaves)), dtype=torch.float64)
    if not value.requires_grad:  # a formula without a term
        return value.item(), [torch.zeros_like(leaf) for leaf in leaves]
    grads = torch.autograd.grad(value, leaves, allow_unused=True)
    return value.item(), [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, grads)]


def assert_same(ours_result, expected, **tolerance):
    assert ours_result[0] == pytest.approx(expected[0], rel=tolerance.get("rel", 1e-9), abs=1e-10)
    for gradient, literal in zip(ours_result[1], expected[1]):
        torch.testing.assert_close(
            gradient, literal, rtol=tolerance.get("rtol", 1e-7), atol=tolerance.get("atol", 1e-9)
        )


# pytorch-metric-learning adds the smallest float of a type, or 1e-16, to some denominators.
CLOSE = {"rel": 1e-6, "rtol": 1e-5, "atol": 1e-7}
