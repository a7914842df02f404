"""Brute-force oracles, simple enough to be obviously right; one section an owner."""

from itertools import product

import numpy as np
import torch

# --- distances, triplets, losses (core) ---------------------------------------------------------------------------


def brute_distance(x: np.ndarray, y: np.ndarray, metric: str) -> np.ndarray:
    """Distances (N, M) from differences, or from one dot product each, in float64."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    out = np.zeros((len(x), len(y)))
    for i, j in product(range(len(x)), range(len(y))):
        if metric == "cosine":
            length = np.sqrt((x[i] @ x[i]) * (y[j] @ y[j]))
            out[i, j] = 1 - (x[i] @ y[j]) / length if length > 0 else 1.0
        else:
            squared = ((x[i] - y[j]) ** 2).sum()
            out[i, j] = np.sqrt(squared) if metric == "euclidean" else squared
    return out


def brute_triplets(
    d: np.ndarray,
    labels: np.ndarray,
    strategy: str,
    margin: float | str = 0.2,
    gap: tuple[float, float] | None = None,
    reference_labels: np.ndarray | None = None,
    own: np.ndarray | None = None,
) -> np.ndarray:
    """Mined triplets (a, p, n) in sorted order, shape (T, 3), from the cube of all; ``d`` holds distances (N, M)."""
    others = labels if reference_labels is None else reference_labels
    if own is None:
        own = np.arange(len(labels)) if reference_labels is None else np.full(len(labels), -1)
    same = labels[:, None] == others[None, :]
    is_positive = same & (np.arange(len(others))[None, :] != own[:, None])
    cube = is_positive[:, :, None] & ~same[:, None, :]
    d_ap, d_an = np.broadcast_to(d[:, :, None], cube.shape), np.broadcast_to(d[:, None, :], cube.shape)
    if strategy == "semihard":
        cube = cube & (d_ap < d_an) & (d_an < (np.inf if margin == "soft" else d_ap + margin))
    if strategy in ("hard", "semihard"):
        cube = cube & _first_minimum(np.where(cube, d_an, np.inf), axis=2)
    if strategy == "batch_hard":
        anchors = cube.any(axis=(1, 2))
        hardest = np.zeros_like(cube)
        for a in np.flatnonzero(anchors):
            positive = np.argmax(np.where(is_positive[a], d[a], -np.inf))
            negative = np.argmin(np.where(~same[a], d[a], np.inf))
            hardest[a, positive, negative] = True
        cube = hardest
    if gap is not None:
        cube = cube & (d_ap + gap[0] < d_an) & (d_an <= d_ap + gap[1])
    return np.argwhere(cube)


def _first_minimum(values: np.ndarray, axis: int) -> np.ndarray:
    """True at the first smallest value along an axis."""
    first = np.zeros(values.shape, dtype=bool)
    if values.shape[axis]:
        np.put_along_axis(first, values.argmin(axis=axis, keepdims=True), True, axis=axis)
    return first


def brute_loss(
    d: np.ndarray, triplets: np.ndarray, margin: float | str = 0.2, reduction: str = "mean_active"
) -> dict[str, float]:
    """The reduced loss of listed triplets, their number, how many are active and their mean distances."""
    a, p, n = triplets.T
    d_ap, d_an = d[a, p], d[a, n]
    cost = np.logaddexp(0, d_ap - d_an) if margin == "soft" else np.maximum(0, d_ap + margin - d_an)
    active = len(cost) if margin == "soft" else int((cost > 0).sum())
    over = {"sum": 1, "mean": max(len(cost), 1), "mean_active": max(active, 1)}[reduction]
    return {
        "loss": float(cost.sum() / over),
        "triplets": len(cost),
        "active": active,
        "positive_distance": float(d_ap.mean()) if len(cost) else float("nan"),
        "negative_distance": float(d_an.mean()) if len(cost) else float("nan"),
    }


def brute_gradient(x: torch.Tensor, triplets: np.ndarray, margin: float | str, metric: str) -> torch.Tensor:
    """Gradient of the summed loss by autograd through each triplet's own differences, in float64."""
    x = x.detach().double().requires_grad_()
    a, p, n = torch.from_numpy(triplets).T

    def distance(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        if metric == "cosine":
            return 1 - torch.nn.functional.cosine_similarity(u, v)
        squared = (u - v).square().sum(1)
        if metric == "euclidean":  # the square root has gradient 0 at 0
            return torch.where(squared > 0, squared, 1).sqrt() * (squared > 0)
        return squared

    difference = distance(x[a], x[p]) - distance(x[a], x[n])
    zero = torch.zeros_like(difference)
    cost = torch.logaddexp(difference, zero) if margin == "soft" else (difference + margin).relu()
    return torch.autograd.grad(cost.sum(), x)[0]


def tied_batch(rng: np.random.Generator, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """A batch of 2–64 items in 1–10 classes whose distances tie exactly in every floating-point type.

    Small integers for the Euclidean metrics; for the cosine, entries in {−1, 0, 1} with 1 or 4 of them not zero, so
    that lengths are 1 or 2 and unit vectors are exact.
    """
    count, classes = int(rng.integers(2, 65)), int(rng.integers(1, 11))
    labels = rng.integers(0, classes, count)
    if metric != "cosine":
        return rng.integers(-3, 4, (count, int(rng.integers(1, 5)))).astype(float), labels
    x = rng.choice([-1.0, 1.0], (count, 4))
    for i in np.flatnonzero(rng.random(count) < 0.5):
        x[i, rng.permutation(4)[:3]] = 0
    return x, labels


# --- rankings (retrieval, recognition) ----------------------------------------------------------------------------


def brute_scores(x: np.ndarray, y: np.ndarray, metric: str) -> np.ndarray:
    """Scores (N, M), higher is more alike: the cosine similarity, or minus the distance, in float64."""
    distance = brute_distance(x, y, metric)
    return 1 - distance if metric == "cosine" else -distance


def brute_rankings(scores: np.ndarray, left_out: np.ndarray) -> list[list[int]]:
    """The columns of each row of ``scores`` (N, M), best first, ties to the lower column, without those left out."""
    return [
        sorted((j for j in range(scores.shape[1]) if not left_out[i, j]), key=lambda j: (-scores[i, j], j))
        for i in range(len(scores))
    ]


def left_out_of_rankings(
    labels: np.ndarray,
    gallery_labels: np.ndarray,
    groups: np.ndarray | None = None,
    gallery_groups: np.ndarray | None = None,
    exclude: str = "matches",
    *,
    one_set: bool,
) -> np.ndarray:
    """Which pairs (N, M) are no part of any ranking: an item with itself, and pairs within a group."""
    out = np.zeros((len(labels), len(gallery_labels)), dtype=bool)
    for i, j in product(range(len(labels)), range(len(gallery_labels))):
        out[i, j] = one_set and i == j
        if groups is not None and groups[i] == gallery_groups[j]:
            out[i, j] |= exclude == "pairs" or labels[i] == gallery_labels[j]
    return out


def brute_figures(hits: list[bool], relevant: int, ks: tuple[int, ...]) -> dict:
    """Every retrieval figure of one query, term by term.

    Args:
        hits: of each place of its ranking whether the item there is relevant; the ranking may end early.
        relevant: how many relevant items the gallery has, R > 0.
        ks: the ranks K.
    """
    found = [rank for rank, hit in enumerate(hits, start=1) if hit]

    def precision_sum(last: int) -> float:
        return sum(j / rank for j, rank in enumerate(found, start=1) if rank <= last)

    def hits_until(last: int) -> int:
        return sum(rank <= last for rank in found)

    figures: dict = {
        "first_rank": found[0] if found else 1 << 62,
        "reciprocal_rank": 1 / found[0] if found else 0.0,
        "r_precision": hits_until(relevant) / relevant,
        "average_precision_at_r": precision_sum(relevant) / relevant,
        "average_precision": precision_sum(len(hits)) / relevant,
    }
    for k in ks:
        perfect = sum(1 / np.log2(1 + rank) for rank in range(1, min(k, relevant) + 1))
        figures["recall_at", k] = 1.0 if hits_until(k) > 0 else 0.0
        figures["precision_at", k] = hits_until(k) / k
        figures["average_precision_at", k] = precision_sum(k) / min(k, relevant)
        figures["average_precision_at_over_hits", k] = precision_sum(k) / max(1, hits_until(k))
        figures["ndcg_at", k] = sum(1 / np.log2(1 + rank) for rank in found if rank <= k) / perfect
    return figures


# --- verification of all pairs, from the matrix of scores (evaluation) --------------------------------------------


def brute_verification(scores: np.ndarray, names: np.ndarray) -> dict:
    """Every figure of all pairs i < j by counting them: AUC by comparing each two pairs, EER along the ROC."""
    i, j = np.triu_indices(len(names), 1)
    same, s = names[i] == names[j], np.asarray(scores, dtype=np.float32)[i, j]
    match, impostor = s[same], s[~same]
    observed = np.sort(np.unique(s))[::-1]  # from strict to generous

    def accepted(threshold: float) -> tuple[int, int]:
        return int((match >= np.float64(threshold)).sum()), int((impostor >= np.float64(threshold)).sum())

    counts = np.array([(0, 0), *map(accepted, observed.tolist())])
    tpr, fpr = counts[:, 0] / len(match), counts[:, 1] / len(impostor)
    wins = (match[:, None] > impostor[None, :]).sum() + 0.5 * (match[:, None] == impostor[None, :]).sum()

    def within(budget: float) -> np.ndarray:
        return np.flatnonzero(fpr <= budget)

    after = next(k for k in range(len(fpr)) if 1 - tpr[k] <= fpr[k])
    (f0, g0), (f1, g1) = ((fpr[k], (1 - tpr[k]) - fpr[k]) for k in (max(after - 1, 0), after))
    return {
        "matches": len(match),
        "impostors": len(impostor),
        "auc": float(wins / (len(match) * len(impostor))),
        "eer": float(f1 if g1 == 0 or after == 0 else f0 + g0 / (g0 - g1) * (f1 - f0)),
        "tpr_at_fpr": lambda budget: float(tpr[within(budget)].max()),
        "lowest_score_within": lambda budget: float([np.inf, *observed][within(budget)[-1]]),
        "accepted": accepted,
    }
