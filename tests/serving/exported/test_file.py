"""An exported file is read without following, fetching or running anything; what is not whole is one line."""

import hashlib
import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from triune.errors import InputError
from triune.serving.exported.card import METADATA_DIGEST
from triune.serving.exported.file import digest_of, digest_of_entries, read_exported
from triune.serving.loaded import load


def refused(path, match):
    for read in (read_exported, load):
        with pytest.raises(InputError, match=match) as raised:
            read(path)
        assert "\n" not in str(raised.value)


@pytest.fixture
def model(exported):
    return onnx.load(exported[0] / "run.onnx")


def saved(model, tmp_path, *, sealed=False):
    """A file of a model; with the digest of its metadata made again where it is sealed."""
    if sealed:
        (entry,) = (each for each in model.metadata_props if each.key == METADATA_DIGEST)
        entry.value = digest_of_entries((each.key, each.value) for each in model.metadata_props)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    return tmp_path / "m.onnx"


@pytest.mark.parametrize("share", [0.001, 0.3, 0.999])
def test_a_file_that_is_cut_short_is_refused(exported, tmp_path, share):
    content = (exported[0] / "run.onnx").read_bytes()
    (tmp_path / "m.onnx").write_bytes(content[: int(share * len(content))])
    refused(tmp_path / "m.onnx", r"m\.onnx (is no whole ONNX file|holds no model card)")


@pytest.mark.parametrize("content", [b"<html></html>", b"\x80\x04pickle", os.urandom(4096), b"\x00" * 100])
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "m.onnx").write_bytes(content)
    refused(tmp_path / "m.onnx", r"m\.onnx (is no whole ONNX file|holds no model card)")


def test_what_is_no_file_is_refused(tmp_path):
    refused(tmp_path / "none.onnx", r"none\.onnx does not exist: `triune export RUN --output .*none\.onnx` makes one")
    (tmp_path / "empty.onnx").write_bytes(b"")
    refused(tmp_path / "empty.onnx", r"empty\.onnx is empty: copy or export it again")
    (tmp_path / "folder.onnx").mkdir()
    refused(tmp_path / "folder.onnx", "it is a folder")
    os.mkfifo(tmp_path / "pipe.onnx")
    refused(tmp_path / "pipe.onnx", "it is a pipe or a device")


def test_a_foreign_onnx_file_is_refused(tmp_path):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y])
    refused(saved(helper.make_model(graph), tmp_path), "no model card of Triune: name a file that")


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_flipped_bit_of_the_weights_is_seen(exported, tmp_path, place):
    content = bytearray((exported[0] / "run.onnx").read_bytes())
    content[int(place * len(content))] ^= 4
    (tmp_path / "m.onnx").write_bytes(content)
    refused(tmp_path / "m.onnx", r"m\.onnx (is damaged: it is not what was written|is no whole ONNX file)")


def test_weights_in_other_files_are_not_followed(model, tmp_path):
    (tmp_path / "secret").write_bytes(b"\x00" * 4096)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")
    refused(saved(model, tmp_path), "names other files for its weights, which are not read")


def test_weights_in_other_files_are_found_in_the_graphs_of_nodes_too(model, tmp_path):
    inner = helper.make_graph([], "then", [], [])
    tensor = inner.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    model.graph.node.append(helper.make_node("If", ["c"], [], then_branch=inner, else_branch=inner))
    refused(saved(model, tmp_path), "names other files for its weights, which are not read")


def test_operators_of_another_library_are_refused(model, tmp_path):
    model.opset_import.add(domain="evil.ops", version=1)
    refused(saved(model, tmp_path), r"needs operators of its own \(evil\.ops\)")


def test_the_digest_is_of_all_but_the_metadata(model):
    stripped = onnx.ModelProto()
    stripped.CopyFrom(model)
    del stripped.metadata_props[:]
    content = stripped.SerializeToString()
    assert digest_of(content) == hashlib.sha256(content).hexdigest() == digest_of(model.SerializeToString())
    weights = model.graph.initializer[0]
    weights.CopyFrom(numpy_helper.from_array(np.zeros(list(weights.dims), np.float32), weights.name))
    assert digest_of(model.SerializeToString()) != digest_of(content)


@pytest.mark.parametrize("edit", [("apple", "pear"), ('"interpolation":"', '"interpolation":"x'), ("0.", "0.9")])
def test_metadata_that_were_changed_are_seen(model, tmp_path, edit):
    (entry,) = (each for each in model.metadata_props if each.key == "triune")
    entry.value = entry.value.replace(*edit) if edit[0] in entry.value else entry.value + " "
    refused(saved(model, tmp_path), r"m\.onnx is damaged: its metadata are not what was written")


def test_metadata_without_their_digest_are_refused(model, tmp_path):
    (entry,) = (each for each in model.metadata_props if each.key == METADATA_DIGEST)
    model.metadata_props.remove(entry)
    refused(saved(model, tmp_path), r"m\.onnx is damaged: its metadata")


def test_a_damaged_list_of_familiar_looks_is_named(model, tmp_path):
    (entry,) = (each for each in model.metadata_props if each.key == "triune.familiar")
    entry.value = "AAAA" + entry.value[4:]
    refused(saved(model, tmp_path, sealed=True), r"m\.onnx, metadata triune\.familiar")
    entry.value = "no base64!"
    refused(saved(model, tmp_path, sealed=True), r"m\.onnx, metadata triune\.familiar: it is damaged")
