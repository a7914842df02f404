"""Work divided over processes, and a command run in several of them."""
