"""How close rows are to each of many labels, from a tile of scores on the CPU."""

from typing import Any

import numpy as np

from triune.kernels.compiling import compile_kernel


@compile_kernel({"nsz"})
def best_of_each_label(scores: Any, sizes: Any, most: int) -> Any:
    """The highest scores of each row with the items of each label, descending; −∞ where there are fewer.

    Args:
        scores: float32 (R, N), the items of one label beside each other.
        sizes: how many items each label has, int64 (C,), in that order.
        most: how many scores are kept of each.

    Returns:
        float32 (R, C, most).
    """
    best = np.full((len(scores), len(sizes), most), -np.inf, np.float32)
    for i in range(len(scores)):
        column = 0
        for label in range(len(sizes)):
            kept = best[i, label]
            for _ in range(sizes[label]):
                score = scores[i, column]
                column += 1
                if score > kept[most - 1]:
                    place = most - 1
                    while place > 0 and score > kept[place - 1]:
                        kept[place] = kept[place - 1]
                        place -= 1
                    kept[place] = score
    return best


@compile_kernel({"nsz"})
def closeness_to_labels(best: Any, taken: Any, skipped: Any) -> Any:
    """The mean of a row's highest scores with each label, or of as many as it has; −∞ of none.

    Args:
        best: float32 (R, C, most), descending; −∞ where there are fewer.
        taken: how many scores a row's mean is of, int64 (R,); below ``most``.
        skipped: whether the first score is passed over, bool (R, C).

    Returns:
        float64 (R, C).
    """
    means = np.full(skipped.shape, -np.inf)
    for i in range(means.shape[0]):
        for label in range(means.shape[1]):
            first = 1 if skipped[i, label] else 0
            total, number = 0.0, 0
            for j in range(first, min(first + taken[i], best.shape[2])):
                if best[i, label, j] != -np.inf:
                    total += best[i, label, j]
                    number += 1
            if number:
                means[i, label] = total / number
    return means
