"""Which store a name stands for."""

import pytest

from serving.gallery.test_lance import CARD, COLUMNS
from triune.errors import InputError
from triune.serving.gallery.lance import LanceStore
from triune.serving.gallery.places import create_store, is_there, open_store, require_free


def test_a_folder_is_lance_s(tmp_path):
    name = str(tmp_path / "G")
    assert not is_there(name)
    require_free(name)
    assert isinstance(create_store(name, CARD, COLUMNS), LanceStore)
    assert is_there(name)
    assert isinstance(open_store(name), LanceStore)
    with pytest.raises(InputError, match="is there already"):
        require_free(name)


def test_an_empty_name_is_not_the_working_directory(tmp_path, monkeypatch):
    create_store(str(tmp_path / "G"), CARD, COLUMNS)
    monkeypatch.chdir(tmp_path / "G")
    for use in (open_store, require_free):
        with pytest.raises(InputError, match="path of the gallery is empty"):
            use("")
    assert is_there(".")


def test_a_file_is_no_place_for_a_gallery(tmp_path):
    (tmp_path / "f").write_text("mine")
    with pytest.raises(InputError, match="is there already"):
        require_free(str(tmp_path / "f"))
    with pytest.raises(InputError, match="is no gallery"):
        open_store(str(tmp_path / "f"))
