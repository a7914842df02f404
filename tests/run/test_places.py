"""A run is found by its folder, or by its network in it; one that is not finished says how to go on."""

import pytest

from triune.errors import InputError
from triune.run.places import MODEL, folder_of, model_file


def test_a_run_is_named_by_its_folder_or_by_its_network(tmp_path):
    assert folder_of(tmp_path) == folder_of(tmp_path / "model.safetensors") == tmp_path
    (tmp_path / MODEL).touch()
    assert model_file(tmp_path) == model_file(tmp_path / MODEL) == tmp_path / MODEL


def test_a_run_without_a_network_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match="does not exist: name a run folder that holds a finished training run"):
        model_file(tmp_path)
    (tmp_path / "config.yaml").touch()
    with pytest.raises(InputError, match="finish the training with `triune train --resume"):
        model_file(tmp_path)
