import pytest
from pydantic import ValidationError

from triune.commands.verify import VerifyConfig


def test_the_rate_of_a_verdict_is_a_rate(tmp_path):
    assert VerifyConfig(tmp_path, tmp_path, tmp_path, 0.01).fpr == 0.01
    for fpr in (0, 1, -0.1):
        with pytest.raises(ValidationError):
            VerifyConfig(tmp_path, tmp_path, tmp_path, fpr)
