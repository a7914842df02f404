"""Embeddings laid out on a plane: t-SNE after PCA, so that neighbours stay neighbours."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

LEAST_FOR_TSNE = 8


def embedding_map(embeddings: Array, seed: int = 0) -> Array:
    """Place N embeddings ``(N, D)`` in the unit square, ``(N, 2)``; distances between far points mean nothing.

    t-SNE (van der Maaten and Hinton 2008) with a PCA start; plain PCA for fewer than eight points.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    count = len(embeddings)
    if count < 3:
        return np.linspace(0.25, 0.75, max(count, 1))[:count, None].repeat(2, axis=1)
    narrow = PCA(min(50, *embeddings.shape), random_state=seed).fit_transform(embeddings)
    if count < LEAST_FOR_TSNE:
        plane = np.pad(narrow, ((0, 0), (0, max(0, 2 - narrow.shape[1]))))[:, :2]
    else:
        perplexity = min(30.0, (count - 1) / 3)
        plane = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(narrow[:, :50])
    span = np.ptp(plane, axis=0)
    scaled: Array = (plane - plane.min(axis=0)) / np.where(span > 0, span, 1)
    return scaled
