"""Embeddings laid out on a plane: t-SNE after PCA, so that neighbours stay neighbours."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


LEAST_FOR_TSNE = 8


MOST_COMPONENTS = 50


def embedding_map(embeddings: Array, seed: int = 0) -> Array:
    """Place N finite embeddings ``(N, D)`` in the unit square, ``(N, 2)``; distances between far points mean nothing.

    t-SNE (van der Maaten and Hinton 2008) started from the first two principal components; those components alone
    for fewer than eight different embeddings. Equal embeddings share a place: they are laid out once, since a
    collapsed set (all equal) makes scikit-learn's t-SNE divide by zero and crash the process.
    """
    distinct, places = np.unique(np.asarray(embeddings, dtype=np.float64), axis=0, return_inverse=True)
    if len(distinct) < 2:
        return np.full((len(embeddings), 2), 0.5)
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    narrow = PCA(min(MOST_COMPONENTS, *distinct.shape), random_state=seed).fit_transform(distinct)
    spread = narrow[:, 0].std()
    narrow = narrow / spread if spread > 0 else narrow
    plane = np.pad(narrow, ((0, 0), (0, max(0, 2 - narrow.shape[1]))))[:, :2]
    if len(distinct) >= LEAST_FOR_TSNE:
        perplexity = min(30.0, (len(distinct) - 1) / 3)
        plane = TSNE(perplexity=perplexity, init=1e-4 * plane, random_state=seed).fit_transform(narrow)
    span = np.ptp(plane, axis=0)
    scaled = (plane - plane.min(axis=0)) / np.where(span > 0, span, 1)
    laid: Array = np.clip(np.where(span > 0, scaled, 0.5), 0, 1)[places.reshape(-1)]
    return laid
