"""A gallery: embedded images on disk or in a server, of which the most alike are found."""
