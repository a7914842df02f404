"""Config, training loop and run folder."""
