"""The hot loops of mining, of the all-triplet loss, of verification and of retrieval; README.md explains them."""
