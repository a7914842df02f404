"""What training, evaluation and use of a run all need: its settings, its folder, its data."""
