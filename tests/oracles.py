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


# --- pairs weighed by how often their identities are drawn ----------------------------------------------------------


def brute_scored_pairs(x, labels, metric="cosine", groups=None):
    """Scores (float32) and both rows of every pair."""
    i, j = np.triu_indices(len(x), 1)
    if groups is not None:
        kept = groups[i] != groups[j]
        i, j = i[kept], j[kept]
    x = x.astype(np.float64)
    if metric == "cosine":
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        return (x[i] * x[j]).sum(1), i, j
    d = np.square(x[i] - x[j]).sum(1)
    return -(np.sqrt(d) if metric == "euclidean" else d), i, j


def brute_weighed_figures(scores, first, second, w, fprs, thresholds):
    """AUC, EER, TPR@FPR and fixed-threshold rates of weighted pairs, in float64, from all of them sorted."""
    same = first == second
    weight = np.where(same, w[first], w[first] * w[second]).astype(np.float64)
    levels, place = np.unique(scores, return_inverse=True)
    p = np.bincount(place[same], weight[same], len(levels))
    q = np.bincount(place[~same], weight[~same], len(levels))
    below = np.cumsum(q) - q
    auc = (p * (below + q / 2)).sum() / (p.sum() * q.sum())
    tpr, fpr = p[::-1].cumsum() / p.sum(), q[::-1].cumsum() / q.sum()  # from the highest threshold down
    tpr_at = [max([t for t, f in zip(tpr, fpr) if f <= budget], default=0.0) for budget in fprs]
    x, y = np.concatenate([[0], fpr]), np.concatenate([[1], 1 - tpr])
    k = int(np.argmax(y <= x))
    share = (y[k - 1] - x[k - 1]) / ((y[k - 1] - x[k - 1]) - (y[k] - x[k]))
    eer = x[k - 1] + share * (x[k] - x[k - 1])
    fixed = [(p[levels >= t].sum() / p.sum(), q[levels >= t].sum() / q.sum()) for t in thresholds]
    return auc, eer, tpr_at, fixed


def brute_pair_noise(accepted, first, second, identities):
    """Σ over pairs of identities of (accepted − FPR · pairs)², over the square of all pairs."""
    a, n = np.zeros((2, identities, identities))
    for yes, g, h in zip(accepted, first, second):
        if g != h:
            a[min(g, h), max(g, h)] += yes
            n[min(g, h), max(g, h)] += 1
    return np.square(a - a.sum() / n.sum() * n).sum() / n.sum() ** 2


# --- the terms of the objective -----------------------------------------------------------------------------------


def _log_softmax(row: np.ndarray) -> list[float]:
    """log of the softmax of a few numbers, in float64."""
    total = np.log(sum(np.exp(value - row.max()) for value in row)) + row.max()
    return [float(value - total) for value in row]


def brute_cross_entropy(logits: np.ndarray, classes: list[int], smoothing: float = 0.0) -> float:
    """Mean over the items with a class (not −1) of −Σ target · log p, the target being smoothed."""
    costs = []
    for row, own in zip(np.asarray(logits, dtype=np.float64), classes, strict=True):
        if own < 0:
            continue
        target = [(1 - smoothing) * (c == own) + smoothing / len(row) for c in range(len(row))]
        costs.append(-sum(t * p for t, p in zip(target, _log_softmax(row), strict=True)))
    return sum(costs) / len(costs) if costs else 0.0


def brute_pixel_entropy(logits: np.ndarray, masks: np.ndarray) -> float:
    """Mean cost of the pixels that are not 255: binary with one channel, over channels with several."""
    costs = []
    for b, y, x in np.argwhere(masks != 255):
        row = np.asarray(logits[b, :, y, x], dtype=np.float64)
        if len(row) == 1:
            p = 1 / (1 + np.exp(-row[0]))
            costs.append(-np.log(p if masks[b, y, x] > 0 else 1 - p))
        else:
            costs.append(-_log_softmax(row)[masks[b, y, x]])
    return float(sum(costs) / len(costs)) if costs else 0.0


def brute_dice(logits: np.ndarray, masks: np.ndarray) -> float:
    """Mean over the channels that occur of 1 − 2 Σ p·t / (Σ p + Σ t), over the pixels of the batch that count."""
    channels = logits.shape[1]
    costs = []
    for channel in range(channels):
        overlap = size = truth = 0.0
        for b, y, x in np.argwhere(masks != 255):
            row = np.asarray(logits[b, :, y, x], dtype=np.float64)
            p = 1 / (1 + np.exp(-row[0])) if channels == 1 else np.exp(_log_softmax(row)[channel])
            t = float(masks[b, y, x] > 0 if channels == 1 else masks[b, y, x] == channel)
            overlap, size, truth = overlap + p * t, size + p + t, truth + t
        if truth > 0:
            costs.append(1 - 2 * overlap / size)
    return sum(costs) / len(costs) if costs else 0.0


# --- losses of pairs: the formulas of the papers as loops over pairs ----------------------------------------------
# x: embeddings, r: what they are compared with, P[a] and N[a]: the positives and negatives of anchor a, y: labels.


def one_distance(u, v):
    squared = (u - v).square().sum()
    return squared.sqrt() if squared > 0 else squared * 0  # the gradient at 0 is 0


def mean_of(values):
    return sum(values) / len(values) if values else 0.0


def log_sum_exp(values):
    return torch.stack(values).exp().sum().log()


def brute_contrastive(x, r, P, N, y, low=0.0, high=1.0, power=1):
    near = [(one_distance(x[a], r[p]) - low).clamp(min=0) ** power for a in P for p in P[a]]
    far = [(high - one_distance(x[a], r[n])).clamp(min=0) ** power for a in N for n in N[a]]
    return mean_of([v for v in near if v > 0]) + mean_of([v for v in far if v > 0])


def brute_lifted(x, r, P, N, y):
    costs = []
    for a in P:
        if P[a] and N[a]:
            near = log_sum_exp([one_distance(x[a], r[p]) - 0.1 for p in P[a]])
            far = log_sum_exp([0.9 - one_distance(x[a], r[n]) for n in N[a]])
            costs.append((near + far).clamp(min=0))
    return mean_of(costs)


def brute_n_pairs(x, r, P, N, y):
    first = {}
    for a in P:
        for p in P[a]:
            first.setdefault(int(y[a]), (a, p))
    pairs = list(first.values())
    costs = [log_sum_exp([x[a] @ r[q] - x[a] @ r[p] for _, q in pairs]) for a, p in pairs]
    return mean_of(costs) + 0.3 * mean_of([(x[a] @ x[a] + r[p] @ r[p]) / 2 for a, p in pairs])


def brute_multi_similarity(x, r, P, N, y):
    costs = []
    for a in P:
        near = sum((-2 * (x[a] @ r[p] - 0.4)).exp() for p in P[a])
        far = sum((30 * (x[a] @ r[n] - 0.4)).exp() for n in N[a])
        costs.append((1 + near + x[a, 0] * 0).log() / 2 + (1 + far + x[a, 0] * 0).log() / 30)
    return mean_of(costs)


def brute_informative(x, r, P, N):
    """The paper's mining: what is left of P and N."""
    kept_p, kept_n = {}, {}
    for a in P:
        kept_p[a] = [p for p in P[a] if any(x[a] @ r[p] - 0.2 < x[a] @ r[n] for n in N[a])]
        kept_n[a] = [n for n in N[a] if any(x[a] @ r[n] + 0.2 > x[a] @ r[p] for p in P[a])]
    return kept_p, kept_n


def brute_mined_multi_similarity(x, r, P, N, y):
    return brute_multi_similarity(x, r, *brute_informative(x, r, P, N), y)


def brute_nt_xent(x, r, P, N, y):
    costs = []
    for a in P:
        for p in P[a]:
            own = (x[a] @ r[p] / 0.2).exp()
            costs.append(-(own / (own + sum((x[a] @ r[n] / 0.2).exp() for n in N[a]))).log())
    return mean_of(costs)


def brute_sup_con(x, r, P, N, y):
    costs = []
    for a in P:
        every = sum((x[a] @ r[i] / 0.2).exp() for i in P[a] + N[a])
        if P[a]:
            costs.append(mean_of([-((x[a] @ r[p] / 0.2).exp() / every).log() for p in P[a]]))
    return mean_of(costs)


def brute_circle(x, r, P, N, y):
    costs = []
    for a in P:
        if P[a] and N[a]:
            s_p, s_n = [x[a] @ r[p] for p in P[a]], [x[a] @ r[n] for n in N[a]]
            near = sum((-8 * (1.4 - s).detach().clamp(min=0) * (s - 0.6)).exp() for s in s_p)
            far = sum((8 * (s + 0.4).detach().clamp(min=0) * (s - 0.4)).exp() for s in s_n)
            costs.append((1 + near * far).log())
    return mean_of(costs)


def brute_margin(x, r, P, N, y):
    near = [(0.2 + one_distance(x[a], r[p]) - 1.1).clamp(min=0) for a in P for p in P[a]]
    far = [(0.2 + 1.1 - one_distance(x[a], r[n])).clamp(min=0) for a in N for n in N[a]]
    return mean_of([v for v in near + far if v > 0])


def brute_smooth_ap(x, r, P, N, y):
    costs = []
    for a in P:
        s = {j: x[a] @ r[j] for j in P[a] + N[a]}
        parts = []
        for p in P[a]:
            above = {j: ((s[j] - s[p]) / 0.1).sigmoid() for j in s if j != p}
            parts.append((1 + sum(above[j] for j in P[a] if j != p)) / (1 + sum(above.values())))
        if P[a]:
            costs.append(1 - mean_of(parts))
    return mean_of(costs)


def brute_fast_ap(x, r, P, N, y):
    costs = []
    for a in P:
        if not P[a]:
            continue
        matching, every = [0.0] * 11, [0.0] * 11
        for j in P[a] + N[a]:
            place = (x[a] - r[j]).square().sum() / 0.4
            below = min(int(place), 9)
            for b, share in ((below, 1 - (place - below)), (below + 1, place - below)):
                every[b] += share
                matching[b] += share if j in P[a] else 0
        hits = [matching[b] * sum(matching[: b + 1]) / sum(every[: b + 1]) for b in range(11) if sum(every[: b + 1])]
        costs.append(1 - sum(hits) / len(P[a]))
    return mean_of(costs)


def positives_and_negatives(y, other=None, own=None):
    """The positives and negatives of each anchor, from labels."""
    y = [str(label) for label in (y.tolist() if isinstance(y, torch.Tensor) else y)]
    if other is None:
        own = range(len(y))
    elif own is None:
        own = [-1] * len(y)
    other = y if other is None else [str(label) for label in other.tolist()]
    P = {a: [j for j in range(len(other)) if other[j] == y[a] and j != own[a]] for a in range(len(y))}
    N = {a: [j for j in range(len(other)) if other[j] != y[a]] for a in range(len(y))}
    return P, N


def listed_pairs(partners):
    pairs = [(a, j) for a in partners for j in partners[a]]
    return tuple(torch.tensor([pair[side] for pair in pairs], dtype=torch.long) for side in (0, 1))


def as_input(image, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)):
    """A decoded RGB image ``(H, W, 3)`` as a network takes it, ImageNet's colours or others: ``(3, H, W)`` float32."""
    pixels = (np.asarray(image) / 255 - mean) / std
    return torch.from_numpy(pixels.transpose(2, 0, 1)).float()
