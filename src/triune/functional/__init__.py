"""Pure functions on tensors: distances, triplets, losses, verification and retrieval."""
