"""From a model or a file of embeddings to metrics, thresholds and the report."""
