"""The version, read by the build and by `triune --version`."""

__version__ = "0.1.0"
