"""The one exception that means: the input is wrong, and here is what to do about it."""


class InputError(ValueError):
    """Bad input. The message names the culprit and the way out; the command line prints it and exits 2."""
