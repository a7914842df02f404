"""What a trained run is used for: verify, index, search, export."""
