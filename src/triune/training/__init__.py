"""The training loop: from settings and items to a trained network in a run folder."""
