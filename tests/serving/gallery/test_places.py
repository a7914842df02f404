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


@pytest.mark.parametrize(
    ("made", "named", "what"),
    [("m.onnx", "m.onnx", "an exported file"), ("run/model.safetensors", "run", "a run"),
     ("run/model.safetensors", "run/model.safetensors", "the network of a run")],
)  # fmt: skip
def test_a_network_in_the_place_of_a_gallery_is_told_what_it_is(tmp_path, made, named, what):
    (tmp_path / made).parent.mkdir(exist_ok=True)
    (tmp_path / made).write_bytes(b"weights")
    name = str(tmp_path / named)
    with pytest.raises(InputError) as raised:
        open_store(name)
    assert str(raised.value) == (
        f"{name} is {what}, and no gallery: `triune index {name} IMAGES --output GALLERY` makes one by it"
    )
