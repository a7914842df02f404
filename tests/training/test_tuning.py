"""What must not learn does not, to the last bit; what learns later learns later; a run with adapters is saved whole."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from forked import in_processes
from model.small import images, small
from training import test_processes as processes
from training.test_train import TINY, train_only, write_items
from triune.errors import InputError
from triune.model.network import MultiTaskModel
from triune.run.folder import load_model
from triune.run.parser import parse_train
from triune.run.settings import ModelConfig
from triune.training.module import TrainingModule
from triune.training.tuning import check_chunk, check_compiler, check_steps, prepare_tuning

VIT = ["--model.backbone", "test_vit", "--images.size", "32"]
STEADY = ["--seed", "3", "--optimizer.warmup", "0", "--optimizer.schedule", "constant", "--beta", "0"]

needs_peft = pytest.mark.skipif(not __import__("importlib.util").util.find_spec("peft"), reason="peft is not installed")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_items(tmp_path_factory.mktemp("items"))


@pytest.fixture
def watched(monkeypatch):
    """The backbone before each step, by its names."""
    seen, step = [], TrainingModule.training_step

    def watch(self, batch, index):
        seen.append({n: t.clone() for n, t in self.model.backbone.state_dict().items()})
        return step(self, batch, index)

    monkeypatch.setattr(TrainingModule, "training_step", watch)
    return seen


def train(table, run, *flags, epochs=2):
    return train_only(["--data", str(table), *TINY, *STEADY, "--epochs", str(epochs), *flags, "--output", str(run)])


def same(one, two):
    return all(torch.equal(tensor, two[name]) for name, tensor in one.items())


@pytest.mark.parametrize("flags", [[], VIT], ids=["resnet", "vit"])
def test_a_frozen_backbone_stays_as_it_is_to_the_last_bit_and_the_heads_learn(flags, table, tmp_path, watched):
    train(table, tmp_path / "run", *flags, "--model.freeze", "all", epochs=3)
    assert len(watched) == 6
    assert all(same(each, watched[0]) for each in watched)
    model = load_model(tmp_path / "run")[0]
    assert same(model.backbone.state_dict(), watched[0])  # and so did its running average
    torch.manual_seed(3)
    assert float(model.class_head.weight.abs().max()) > 0


def test_a_backbone_learns_from_the_step_that_it_is_told(table, tmp_path, watched):
    train(table, tmp_path / "run", "--model.freeze", "3", epochs=3)
    assert [same(each, watched[0]) for each in watched] == [True] * 4 + [False] * 2


@needs_peft
def test_of_a_backbone_with_adapters_nothing_else_learns_and_its_use_needs_no_peft(table, tmp_path, watched):
    run = tmp_path / "run"
    train(table, run, *VIT, "--model.adapter_rank", "2")
    moved = {name for name, tensor in watched[-1].items() if not torch.equal(tensor, watched[0][name])}
    assert moved
    assert all(".lora_" in name for name in moved)
    assert any(".lora_" not in name for name in watched[0])
    code = (
        "import sys; sys.modules['peft'] = None\n"
        "from pathlib import Path; from triune.run.folder import load_model\n"
        f"model, card = load_model(Path({str(run)!r}))\n"
        "import torch; print(model.embed(torch.zeros(1, 3, 32, 32)).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "16" in done.stdout


@needs_peft
def test_a_run_with_adapters_keeps_the_answers_that_its_validation_saw(table, tmp_path):
    """The merged weights, read from the folder, give the embeddings of the best checkpoint's adapters."""
    run = tmp_path / "run"
    flags = [*VIT, "--model.adapter_rank", "2", "--optimizer.lr", "0.03"]
    train(table, run, *flags)
    state = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    merged = load_model(run)[0]
    torch.manual_seed(0)
    adapted = MultiTaskModel("test_vit", num_classes=2, mask_channels=0, embedding_dim=16, pretrained=False)
    prepare_tuning(adapted, ModelConfig(backbone="test_vit", adapter_rank=2))
    adapted.load_state_dict({n.removeprefix("model."): t for n, t in state.items() if n.startswith("model.")})
    x = images(4, size=(32, 32))
    with torch.no_grad():
        torch.testing.assert_close(merged.embed(x), adapted.eval().embed(x), rtol=1e-4, atol=1e-5)


def test_checkpointed_gradients_are_those_of_kept_activations(table, tmp_path):
    """Also the statistics of batch normalisation, which a second forward pass would count twice."""
    for name, flags in (("kept", []), ("checkpointed", ["--model.grad_checkpointing"])):
        train(table, tmp_path / name, *flags, epochs=1)
    one, two = (load_model(tmp_path / name)[0].state_dict() for name in ("kept", "checkpointed"))
    assert same(one, two)


@pytest.mark.parametrize("backbone", ["test_vit", "test_convnext2", "test_efficientnet"])
def test_checkpointing_computes_blocks_again(backbone):
    torch.manual_seed(0)
    model = MultiTaskModel(backbone, num_classes=2, mask_channels=0, embedding_dim=4, pretrained=False)
    prepare_tuning(model, ModelConfig(backbone=backbone, grad_checkpointing=True))
    calls = []
    for module in model.backbone.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda *_: calls.append(1))
    out = model(images(2, size=(64, 64))).embedding.sum()
    forward = len(calls)
    out.backward()
    assert len(calls) > forward


def test_drop_path_leaves_blocks_out_in_training_alone_and_has_no_weights(tmp_path):
    torch.manual_seed(0)
    settings = {"num_classes": 2, "mask_channels": 0, "embedding_dim": 4, "pretrained": False}
    for name in ("test_vit", "test_convnext2", "resnet10t"):
        model, plain = MultiTaskModel(name, **settings, drop_path=0.5), MultiTaskModel(name, **settings)
        plain.load_state_dict(model.state_dict())
        x = images(4)
        with torch.no_grad():
            assert torch.equal(model.eval().embed(x), plain.eval().embed(x))
            for p in model.parameters():  # timm begins with residual branches of 0
                if p.ndim == 1:
                    torch.nn.init.normal_(p)
            norm = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
            model.train()
            for each in norm:
                each.eval()
            torch.nn.init.normal_(model.embedding_head.weight)
            assert not torch.equal(model.embed(x), model.embed(x)), name


@pytest.mark.parametrize("masks", [0, 1])
def test_drop_path_without_blocks_to_leave_out_is_refused(masks):
    settings = {"num_classes": 2, "mask_channels": masks, "embedding_dim": 4, "pretrained": False}
    with pytest.raises(InputError, match=r"^backbone vgg11 has no blocks .*--model\.drop_path at 0$"):
        MultiTaskModel("vgg11", **settings, drop_path=0.1)


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_a_compiled_backbone_answers_as_an_eager_one(backend, monkeypatch):
    if backend == "inductor":
        try:
            check_compiler()
        except InputError as error:
            pytest.skip(str(error))
    else:  # traced as torch.compile does, and run without a compiler
        compiled = torch.nn.Module.compile
        monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled(self, backend="eager"))
        monkeypatch.setattr("triune.training.tuning.check_compiler", lambda: None)
    torch.manual_seed(0)
    settings = {"num_classes": 2, "mask_channels": 0, "embedding_dim": 4, "pretrained": False}
    model, eager = (MultiTaskModel("test_resnet", **settings) for _ in range(2))
    eager.load_state_dict(model.state_dict())
    prepare_tuning(model, ModelConfig(backbone="test_resnet", compile=True))
    assert list(model.state_dict()) == list(eager.state_dict())
    x = images(2, size=(32, 32))
    found = {}
    for each in (model, eager):
        out = each(x)
        out.embedding[:, 0].sum().backward()
        found[each] = out.embedding, each.embedding_head.weight.grad, each.backbone.model.layer1[0].conv1.weight.grad
    assert model.backbone._compiled_call_impl is not None
    for one, two in zip(found[model], found[eager], strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-5)


def test_a_machine_that_cannot_compile_is_told(monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("no C++ compiler\nmore")

    monkeypatch.setattr(torch, "compile", fails)
    with pytest.raises(InputError, match=r"torch\.compile does not work on this machine \(no C\+\+ compiler\)"):
        check_compiler()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--model.freeze", "all", "--optimizer.layer_decay", "0.8"], "optimizer.layer_decay has no effect"),
        (["--model.freeze", "all", "--model.adapter_rank", "4"], "model.adapter_rank has no effect"),
        (["--model.freeze", "all", "--model.drop_path", "0.1"], "model.drop_path has no effect"),
        (["--model.freeze", "all", "--model.grad_checkpointing"], "model.grad_checkpointing has no effect"),
        (["--model.cache_features"], "give model.freeze all"),
        (["--model.freeze", "5", "--model.cache_features"], "give model.freeze all"),
        (["--model.freeze", "all", "--model.cache_features", "--model.pooling", "gem"], "gem learns how to pool"),
        (
            ["--model.freeze", "all", "--model.cache_features", "--model.pooling", "attention"],
            "attention learns how to pool",
        ),
        (["--model.freeze", "all", "--model.cache_features", "--images.collages", "2"], "images.collages"),
        (["--model.freeze", "all", "--model.cache_features", "--images.augment.hue", "0.2"], "images.augment"),
        (["--model.freeze", "all", "--model.cache_features", "--optimizer.chunk", "4"], "optimizer.chunk has no"),
        (["--optimizer.chunk", "64"], "optimizer.chunk is 64, and a batch has 64 images"),
        (["--model.freeze", "-1"], "model.freeze"),
        (["--model.freeze", "some"], "model.freeze"),
        (["--optimizer.layer_decay", "0"], "optimizer.layer_decay"),
        (["--optimizer.layer_decay", "1.5"], "optimizer.layer_decay"),
        (["--model.drop_path", "1"], "model.drop_path"),
    ],
)
def test_settings_that_would_do_nothing_are_refused_in_one_line(flags, said):
    with pytest.raises(InputError) as refused:
        parse_train(["--data", "digits", *flags])
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_backbone_that_would_never_begin_to_learn_is_refused(table, tmp_path):
    check_steps(5, 6)
    check_steps("all", 6)
    check_steps(0, 6, memory_start=5)
    with pytest.raises(
        InputError, match=r"loss\.memory_start is 6, and the run has 6 steps, so the memory would never"
    ):
        check_steps(0, 6, memory_start=6)
    with pytest.raises(InputError, match=r"model\.freeze is 2, and the run has 2 steps: give fewer, or 'all'"):
        train(table, tmp_path / "run", "--model.freeze", "2", epochs=1)
    assert not (tmp_path / "run").exists()


def test_a_chunk_of_one_image_has_no_batch_to_normalise_over():
    check_chunk(small(), 2)
    with pytest.raises(InputError, match=r"optimizer\.chunk is 1"):
        check_chunk(small(), 1)


def test_what_of_a_file_matched_and_what_learns_is_printed(table, tmp_path, capsys):
    torch.manual_seed(0)
    source = MultiTaskModel("test_resnet", num_classes=2, mask_channels=0, embedding_dim=4, pretrained=False)
    torch.save({"model": source.backbone.model.state_dict()}, tmp_path / "w.pth")
    flags = ["--model.weights", str(tmp_path / "w.pth"), "--model.freeze", "all"]
    train(table, tmp_path / "run", *flags, epochs=1)
    said = capsys.readouterr().err
    assert f"weights of {tmp_path}/w.pth: 90 of 90 tensors matched\n" in said
    assert "\nthe backbone is frozen" in said
    own = load_model(tmp_path / "run")[0].backbone.model.state_dict()
    assert all(torch.equal(tensor, own[name]) for name, tensor in source.backbone.model.state_dict().items())


IN_PROCESSES = {
    "chunks": ["--optimizer.chunk", "5"],
    "unfrozen in mid-run": ["--model.freeze", "3", "--optimizer.layer_decay", "0.8", "--optimizer.chunk", "7"],
    "features computed once": ["--model.freeze", "all", "--model.cache_features"],
}


@pytest.mark.usefixtures("one_thread")
def test_two_processes_fine_tune_as_one_does(tmp_path):
    table = processes.write_items(tmp_path / "items")

    def flags(case, place):
        more = [*IN_PROCESSES[case], "--output", str(tmp_path / f"{case} {place}")]
        return ["train", "--data", str(table), *processes.EXACT, "--epochs", "3", *more]

    cases = [flags(case, "two") for case in IN_PROCESSES]
    for answers in in_processes(cases, tmp_path, command=processes.train_only):
        assert [code for code, *_ in answers] == [0, 0], answers
    for case in IN_PROCESSES:
        processes.train_only(flags(case, "one"))
        one, two = (processes.curve(tmp_path / f"{case} {place}") for place in ("one", "two"))
        assert len(one) == 6
        assert one[-1, 0] != one[0, 0]
        np.testing.assert_allclose(two, one, rtol=1e-5, atol=1e-6, err_msg=case)
