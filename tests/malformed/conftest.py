"""The one trained run that the damaged copies are made of."""

import pytest

from malformed.trained import train_small


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory):
    """A run of one epoch with everything that training writes."""
    return train_small(tmp_path_factory.mktemp("trained"))
