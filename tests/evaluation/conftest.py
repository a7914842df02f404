"""What tests of judgements share: files of embeddings, and a run that was never trained."""

import numpy as np
import pytest
from PIL import Image

from triune.evaluation.judge import Resampling
from triune.evaluation.judge_run import RunQuestions, evaluate_run
from triune.model.network import MultiTaskModel
from triune.run.folder import save_config, save_model, seal
from triune.run.loaders import ItemData
from triune.run.parser import parse_train
from triune.run.split import write_split
from triune.training.train import class_names, load_items, model_card

N = 120
SIDE = 48


@pytest.fixture
def files(tmp_path):
    """Embeddings of two models, labels, and a CSV of conditions, as files; and the same as arrays."""
    g = np.random.default_rng(0)
    y = np.repeat(np.arange(N // 6), 6)
    centres = g.normal(size=(N // 6, 8))
    x, other = ((centres[y] + noise * g.normal(size=(N, 8))).astype(np.float32) for noise in (0.7, 1.2))
    cameras, sessions = np.array(["left", "right"])[np.arange(N) % 2], np.arange(N) // 2
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "other.npy", other)
    (tmp_path / "y.txt").write_text("".join(f"person {label:02d}\n" for label in y))
    rows = "".join(f"{camera},{session}\n" for camera, session in zip(cameras, sessions))
    (tmp_path / "groups.csv").write_text(f"camera,session\n{rows}")
    return tmp_path, x, other, y, cameras, sessions


def write_items(folder, masked=True):
    """Images of 10 identities of two classes, of 6 images each: 2 to train on, 4 for validation, 4 for test.

    Each identity has its own pattern, each image its own brightness; masks hold 0 and 1, and 255 in a corner.
    """
    g = np.random.default_rng(3)
    lines = ["image,mask,label,identity,split,camera,session"]
    for i in range(10):
        pattern = g.integers(0, 60, (SIDE // 8, SIDE // 8, 3)).repeat(8, 0).repeat(8, 1)
        split = "train" if i < 2 else "val" if i < 6 else "test"
        for k in range(6):
            image = pattern + g.integers(0, 150) + g.normal(0, 12, (SIDE, SIDE, 3))
            mask = (g.random((SIDE, SIDE)) < 0.4).astype(np.uint8)
            mask[:5, :7] = 255
            name = f"{i}-{k}.png"
            for part, array in (("images", image.clip(0, 255).astype(np.uint8)), ("masks", mask)):
                (folder / part).mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(folder / part / name)
            mask_cell = f"masks/{name}" if masked else ""
            lines.append(f"images/{name},{mask_cell},{'odd' if i % 2 else 'even'},id{i},{split},c{k % 2},s{k // 2}")
    (folder / "items.csv").write_text("\n".join(lines) + "\n")
    return folder / "items.csv"


FLAGS = (
    *("--model.backbone", "resnet10t", "--model.pretrained", "false", "--model.decoder_channels", "[16,8,8,8,8]"),
    *("--images.size", str(SIDE), "--model.embedding_dim", "16", "--trainer.accelerator", "cpu", "--target_fpr", "0.1"),
)


def untrained_run(run, items, *flags):
    """A run folder as training leaves it, but for the training; its settings and its data."""
    import torch

    config = parse_train(["--data", str(items), *FLAGS, *flags])
    table = load_items(config)
    data = ItemData(table, config, class_names(table))
    card = model_card(config, data)
    torch.manual_seed(5)
    save_model(run / "model.safetensors", MultiTaskModel(**card.model.model_dump(), pretrained=False), card)
    write_split(run, table)
    seal(run, ["model.safetensors", "split.csv"])
    save_config(run, config)
    return config, data


@pytest.fixture(scope="session")
def judged_run(tmp_path_factory):
    """A run of an untrained network, judged: its folder, its table and what was found."""
    folder = tmp_path_factory.mktemp("judged")
    items = write_items(folder)
    config, data = untrained_run(folder / "run", items)
    found = evaluate_run(folder / "run", config, data, RunQuestions(resampling=Resampling(40, 0.8, 1)))
    return folder / "run", items, found
