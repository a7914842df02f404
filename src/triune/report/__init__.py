"""From results to one page, a table for the terminal, and figure files."""
