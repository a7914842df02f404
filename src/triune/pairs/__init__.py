"""Every pair of a set of embeddings: prepared once, scored in tiles or from a list."""
