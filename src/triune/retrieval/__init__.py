"""How well the nearest neighbours are found."""
