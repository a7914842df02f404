"""One network: image to class logits, mask logits and embedding."""
