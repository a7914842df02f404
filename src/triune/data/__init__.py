"""From a table, a folder or a name to batches."""
