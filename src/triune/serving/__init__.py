"""A finished run in use: what its network and its thresholds say of new images."""
