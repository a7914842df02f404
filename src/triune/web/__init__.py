"""A run in use by other programs and people: the HTTP service, its page, and its client."""
