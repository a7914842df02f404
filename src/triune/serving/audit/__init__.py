"""Mistakes in data: what is looked at, what is looked for, what is found, and how it is written."""
