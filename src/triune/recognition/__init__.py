"""Who or what is it: few-shot classes, identification with "unknown", clustering."""
