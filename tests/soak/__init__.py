"""Fuzzing of everything that reads a file, for minutes: `make soak`. pytest collects nothing here."""
