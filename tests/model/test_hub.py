"""The hub of published weights is asked once; where it is silent, only what was fetched before is looked for."""

import huggingface_hub
import pytest
import timm
from huggingface_hub import constants

from triune.errors import InputError
from triune.model.backbone import fetch_weights
from triune.model.hub import hub_asked_once


class Session:
    def __init__(self, error=None):
        self.error, self.asked = error, []

    def head(self, url, timeout):
        self.asked.append(url)
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize(("error", "offline"), [(None, False), (OSError("no route"), True), (ValueError("?"), True)])
def test_one_request_says_whether_the_hub_is_there(monkeypatch, error, offline):
    session = Session(error)
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: session)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with hub_asked_once():
        assert constants.HF_HUB_OFFLINE is offline
    assert (constants.HF_HUB_OFFLINE, session.asked) == (False, [constants.ENDPOINT])


def test_who_works_offline_is_not_asked_for_a_network_and_stays_so(monkeypatch):
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: pytest.fail("asked"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(KeyError), hub_asked_once():
        raise KeyError("what is loaded may fail")
    assert constants.HF_HUB_OFFLINE


def test_without_a_network_weights_are_missed_in_one_line_and_not_tried_for_again(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    model = timm.create_model("test_resnet", features_only=True)
    with pytest.raises(InputError, match="the pretrained weights of test_resnet cannot be fetched") as refused:
        fetch_weights(model, "test_resnet", 3)
    assert "\n" not in str(refused.value)
    assert "Retry" not in caplog.text
