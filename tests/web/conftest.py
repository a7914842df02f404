"""What tests of the service share: a small trained run, a gallery of its test images, and a server that has both."""

import asyncio
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

import triune
from triune.cli import main
from triune.evaluation.judge import Resampling
from triune.evaluation.judge_run import RunQuestions, evaluate_run
from triune.run.parser import parse_train
from triune.training.opened import opened_run
from triune.training.train import fit, shared_data
from triune.web.app import application
from triune.web.guard import Access
from triune.web.limits import Limits
from triune.web.served import Content, Served

SIDE = 40
IDENTITIES = 12
"""Six to train on, three for validation, three for test; six images each."""

FLAGS = (
    *("--model.backbone", "test_resnet", "--model.pretrained", "false", "--model.decoder_channels", "[16,8,8,8,8]"),
    *("--images.size", str(SIDE), "--model.embedding_dim", "16", "--trainer.accelerator", "cpu", "--target_fpr", "0.1"),
    *("--epochs", "2", "--batch_size", "12"),
)


def split_of(identity):
    return "train" if identity < 6 else "val" if identity < 9 else "test"


def write_patterns(folder):
    """A table of pictures: a pattern for each identity, a brightness for each picture, classes, masks of 0 and 1."""
    g = np.random.default_rng(11)
    lines = ["image,mask,label,identity,split"]
    for i in range(IDENTITIES):
        pattern = g.integers(0, 120, (SIDE // 8, SIDE // 8, 3)).repeat(8, 0).repeat(8, 1)
        for k in range(6):
            pixels = (pattern + g.integers(0, 90) + g.normal(0, 12, pattern.shape)).clip(0, 255).astype(np.uint8)
            mask = (pixels.mean(axis=2) > 100).astype(np.uint8)
            for part, array in (("images", pixels), ("masks", mask)):
                (folder / part).mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(folder / part / f"{i}-{k}.png")
            lines.append(f"images/{i}-{k}.png,masks/{i}-{k}.png,{'odd' if i % 2 else 'even'},id{i},{split_of(i)}")
    (folder / "items.csv").write_text("\n".join(lines) + "\n")
    return folder / "items.csv"


@pytest.fixture(scope="session")
def served_run(tmp_path_factory):
    """A trained run with classes, masks and an embedding; its pictures are ``run.parent / "images" / "I-K.png"``."""
    folder = tmp_path_factory.mktemp("served")
    config = parse_train(["--data", str(write_patterns(folder)), "--output", str(folder / "run"), *FLAGS])
    with opened_run(config) as run:
        data = shared_data(config, run)
        fit(config, data, run)
        evaluate_run(run, config, data, RunQuestions(resampling=Resampling(20, 0.8, 1)))
    return run


@pytest.fixture(scope="session")
def pictures(served_run):
    """Its pictures of test identities: ``9-0.png`` to ``11-5.png``."""
    return [served_run.parent / "images" / f"{i}-{k}.png" for i in range(9, 12) for k in range(6)]


def indexed(run, place):
    """A new gallery of three pictures of each test identity."""
    kinds = ("even", "odd")
    rows = [f"{run.parent}/images/{i}-{k}.png,{kinds[i % 2]},id{i}" for i in range(9, 12) for k in range(3)]
    table = place.with_suffix(".csv")
    table.write_text("\n".join(["image,label,identity", *rows]) + "\n")
    assert main(["index", str(run), str(table), "--output", str(place)]) == 0
    return place


@dataclass(frozen=True)
class Running:
    """A server in a process of its own.

    Args:
        url: where it is, without a slash at the end.
        process: the process.
        log: the file that its standard error goes to.
    """

    url: str
    process: subprocess.Popen
    log: Path


@contextmanager
def running(folder, *arguments, env=None):
    """`triune serve ARGUMENTS` on a free port, until the block ends."""
    log = folder / f"serve-{time.monotonic_ns()}.log"
    command = [sys.executable, "-m", "triune", "serve", *map(str, arguments), "--port", "0"]
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=env)
    try:
        url = process.stdout.readline().strip().rstrip("/")
        assert url.startswith("http://"), log.read_text()
        yield Running(url, process, log)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        process.stdout.close()


@pytest.fixture(scope="session")
def server(served_run, tmp_path_factory):
    """A server of the run and of a gallery of its test pictures; tests leave the gallery as they found it."""
    folder = tmp_path_factory.mktemp("server")
    with running(folder, served_run, "--gallery", indexed(served_run, folder / "G")) as found:
        yield found


@pytest.fixture(scope="session")
def service(server):
    """Its address."""
    return server.url


@pytest.fixture(scope="session")
def http(service):
    """What asks it."""
    with httpx.Client(base_url=service, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def loaded(served_run):
    """The run, in this process."""
    return triune.load(served_run, device="cpu")


@contextmanager
def asking(content, limits=Limits(), access=Access(), **how):
    """What asks an application in this process."""
    app = application(Served(content, limits), access)
    with TestClient(app, base_url="http://localhost", **how) as client:
        yield client


@pytest.fixture(scope="session")
def client(loaded):
    """What asks the run without a gallery, in this process."""
    with asking(Content(loaded)) as found:
        yield found


def files(*paths, field="images"):
    """Files of a form."""
    return [(field, (path.name, path.read_bytes(), "image/png")) for path in paths]


def pair(first, second):
    """A form with two images."""
    return [*files(first, field="first"), *files(second, field="second")]


def error_of(answer, status):
    """The one line of an answer that is none."""
    assert answer.status_code == status, answer.text
    assert "\n" not in answer.json()["error"]
    return answer.json()["error"]


def finished(coroutine):
    """What a coroutine gives, in a thread of its own: a browser of other tests may have a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()
