"""The hub of published weights, asked so that a machine without a network hears so within seconds."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import huggingface_hub
from huggingface_hub import constants

WAIT: Final = 5.0
"""Seconds for the one request."""


@contextmanager
def hub_asked_once() -> Iterator[None]:
    """Where the hub does not answer one request, only weights that were fetched before are looked for.

    Its own client tries six times for each of two files, which takes most of a minute and two lines a trial.
    """
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _answers()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _answers() -> bool:
    try:
        huggingface_hub.get_session().head(constants.ENDPOINT, timeout=WAIT)
    except Exception:  # the client's kinds of errors changed from one version to the next: each means no answer
        return False
    return True
