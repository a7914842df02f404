"""What is fuzzed: each reader with its seeds; it gives a result or an InputError, and writes nothing.

A target is a strategy of inputs, and a function that is called with an input and an empty folder.
"""

import json
import struct
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import polars as pl
from hypothesis import strategies as st
from PIL import Image

from malformed.arrays import THRESHOLD, archive, shaped
from malformed.case import EMBEDDINGS, LABELS, ROWS, SOUND, array, mask, picture
from malformed.lists import PAIRS
from malformed.tables import OF_A_GROUP, OF_A_TEMPLATE, OF_SCORES, as_parquet
from soak.mutations import WORDS, damaged, texts
from triune.commands.evaluate import EvaluateConfig
from triune.commands.verify import VerifyConfig
from triune.data.checks import check_table
from triune.data.decode import probe_image, read_image, read_mask
from triune.data.items import from_frame, read_table
from triune.data.pair_lists import read_pairs
from triune.data.parquet import read_frame
from triune.data.tables import read_cells, read_lines
from triune.errors import InputError
from triune.evaluation.files import read_embeddings, read_groups, read_labels, read_names, read_templates
from triune.evaluation.judge_files import evaluate_scores
from triune.evaluation.results import Results
from triune.run.folder import load_model
from triune.run.history import read_history
from triune.run.judged_items import read_judged_items
from triune.run.parser import Command, parse_train, read_config
from triune.run.settings import TrainConfig
from triune.run.thresholds import read_thresholds
from triune.training.checkpoints import read_checkpoint


class Target(NamedTuple):
    """One thing that is fuzzed.

    Args:
        inputs: what it is given.
        call: reads an input in an empty folder; what it raises but an InputError is a finding.
    """

    inputs: st.SearchStrategy[Any]
    call: Callable[[Any, Path], None]


def _file(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def _each(*calls: Callable[[], Any]) -> None:
    """Call all: what one refuses another may take."""
    for call in calls:
        with suppress(InputError):
            call()


def _lines(*lines: str, end: str = "\n", separator: str = ",") -> bytes:
    return end.join(line.replace(",", separator) for line in lines).encode()


ITEM_SEEDS = [
    _lines(*SOUND[:8]),
    _lines(*SOUND[:6], end="\r\n", separator=";"),
    _lines(*SOUND[:6], end="\r", separator="\t"),
    b'\xef\xbb\xbfpath,label,is_query,"x_1"\n"a ""b"".png",007,yes,1\n\n"c\nd.png",NA,no,2\n',
    _lines(*OF_SCORES, "0.3,yes"),
    _lines("score,match,fold", "1e308,1,a", "-1e308,0,b", "0.1,1,b", "inf,0,a"),
    _lines("distance;match", "0,1;ja", "0.2;0"),
    _lines(*OF_A_GROUP),
    _lines(*OF_A_TEMPLATE),
]


def _tables(content: bytes, folder: Path) -> None:
    path = _file(folder, "t.csv", content)
    _each(
        lambda: read_cells(path),
        lambda: read_table(path),
        lambda: read_groups(path, 5, path),
        lambda: read_templates(path, 5, path),
        lambda: evaluate_scores(path),
    )


@st.composite
def _frames(draw: st.DrawFn) -> bytes:
    """A sound Parquet file with columns of any type."""
    kinds = (pl.String, pl.Int64, pl.UInt64, pl.Int8, pl.Float32, pl.Float64, pl.Boolean, pl.Date, pl.Time, pl.Binary)
    more = (pl.Datetime("us"), pl.Duration("ms"), pl.Decimal(20, 3), pl.Categorical, pl.List(pl.Int64), pl.Null)
    kinds = (*kinds, *more, pl.Array(pl.Int64, 2), pl.Struct({"a": pl.Int64}), pl.Datetime("ms", "UTC"), pl.Int128)
    rows = draw(st.integers(0, 6))
    names = ("image", "label", "identity", "split", "mask", "is_query", "row", "score", "match", "fold", "first")
    more_names = ("second", "template", "media", " Label", "")
    frame = {}
    for name in draw(st.lists(st.sampled_from((*names, *more_names)), unique=True, max_size=6)):
        kind = draw(st.sampled_from(kinds))
        values = [draw(st.one_of(st.none(), _values(kind))) for _ in range(rows)]
        try:
            frame[name] = pl.Series(name, values, dtype=kind, strict=False)
        except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError):
            frame[name] = pl.Series(name, [None] * rows, dtype=kind)
    out = BytesIO()
    pl.DataFrame(frame).write_parquet(out)
    return out.getvalue()


def _values(kind: Any) -> st.SearchStrategy[Any]:
    words = st.sampled_from(["a", "0", "1", "yes", "train", "", " ", "NaN", "1e308", "é"])
    by_kind = {pl.String: words, pl.Categorical: words, pl.Boolean: st.booleans(), pl.Binary: st.binary(max_size=3)}
    if kind in by_kind:
        return by_kind[kind]
    if kind in (pl.Float32, pl.Float64):
        return st.floats()
    if isinstance(kind, pl.List | pl.Array):
        return st.just([1, 2])
    return st.just({"a": 1}) if isinstance(kind, pl.Struct) else st.integers(-(2**31), 2**31)


PARQUET_SEEDS = [as_parquet(lines) for lines in (SOUND, PAIRS, OF_SCORES, OF_A_GROUP, OF_A_TEMPLATE)]


def _parquet(content: bytes, folder: Path) -> None:
    path = _file(folder, "t.parquet", content)
    try:
        read_frame(path)
    except InputError:
        return
    with patch("triune.data.parquet._require_survivable"):  # once is enough: it takes a process
        _parquet_readers(path)


def _parquet_readers(path: Path) -> None:
    _each(
        lambda: read_cells(path),
        lambda: read_table(path),
        lambda: read_groups(path, 5, path),
        lambda: read_templates(path, 5, path),
        lambda: read_pairs(path),
        lambda: evaluate_scores(path),
        lambda: read_judged_items(path),
    )


LIST_SEEDS = [b"a\nb\nc\n", b"\xef\xbb\xbfp1\r\np2 \r\np3", "é\né\nx\u2028y\n".encode(), b"1\r2\r3\r"]


def _lists(content: bytes, folder: Path) -> None:
    path = _file(folder, "l.txt", content)
    _each(lambda: read_lines(path), lambda: read_labels(path, 3, path), lambda: read_names(path, 3, path))


PAIR_SEEDS = [
    _lines(*PAIRS),
    b"first;second;match;fold\na;b;yes;1\na;c;no;1\nb;c;no;2\n",
    b"2\na 1 2\nb 1 3\na 1 b 2\nc 1 d 1\n",
    b"2 1\na\t1\t2\na\t1\tb\t2\nb 1 3\nc 1 d 1\n",
]


def _pairs(content: bytes, folder: Path) -> None:
    path = _file(folder, "pairs.txt", content)
    _each(lambda: read_pairs(path).rows(["a", "b", "0", "1", "3", "4", "5", "9"]))


def _pictures() -> list[bytes]:
    ids = np.arange(256, dtype=np.uint8).reshape(16, 16)
    kinds = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "TGA", "ICO", "PCX", "SGI")
    found = [picture(kind=kind) for kind in kinds]
    found += [mask(ids), mask(ids.astype(np.uint16) * 200), mask(ids > 9), mask(ids, "TIFF"), mask(ids, "BMP")]
    for mode, kind in (("P", "PNG"), ("RGBA", "PNG"), ("LA", "PNG"), ("CMYK", "JPEG"), ("L", "JPEG"), ("1", "TIFF")):
        found.append(picture(mode=mode, kind=kind))
    turned = Image.Exif()
    turned[0x0112] = 6
    return [*found, picture(kind="JPEG", exif=turned), picture(kind="JPEG", progressive=True), picture(size=(300, 200))]


PICTURES = _pictures()


def _images(content: bytes, folder: Path) -> None:
    path = _file(folder, "a.png", content)
    for read in (
        lambda: probe_image(path),
        lambda: read_image(path, 3),
        lambda: read_image(path, 1, (16, 16)),
        lambda: read_mask(path),
        lambda: read_mask(path, (16, 16)),
    ):
        with suppress(OSError, ValueError):  # which is what they say that they raise
            read()
    table = from_frame(pl.DataFrame({"image": [str(path)], "mask": [str(path)]}), source="made", folder=folder)
    for problem in check_table(table, workers=1):
        assert "\n" not in str(problem)


CONFIG_SEEDS = [
    b"data: digits\nepochs: 3\nseed: 7\nmodel:\n  backbone: resnet10t\n  dropout: 0.1\noptimizer: {lr: 1e-3}\n",
    b'{"data": "t.csv", "margin": "soft", "metric_loss_options": {"scale": 3}, "images": {"augment": {"flip": 0.5}}}',
    b"data: 'a b.csv'\nmargin: 0.3\nmodel: {decoder_channels: [8, 8, 8], mask_channels: auto, weights: null}\n# end\n",
    b"resamples: 30\nlevel: 0.9\nembeddings: e.npy\njson: yes\n",
]
COMMANDS = (
    Command("triune train", "Train.", TrainConfig),
    Command("triune evaluate", "Judge.", EvaluateConfig, words=("run",)),
    Command("triune verify", "Compare.", VerifyConfig, words=("run", "first", "second"), has_config=False),
)


def _settings(content: bytes, folder: Path) -> None:
    path = _file(folder, "config.yaml", content)
    _each(
        lambda: parse_train(["--config", str(path), "--epochs", "3"]),
        lambda: COMMANDS[1].parse(["--config", str(path)]),
        lambda: read_config(path),
    )


FLAG_WORDS = st.one_of(
    st.sampled_from([word.decode("utf-8", "replace") for word in WORDS]),
    st.sampled_from(
        ["1", "0.5", "true", "no", "a.csv", "[1, 2]", "{a: 1}", "auto", "soft", "--epochs", "--model", "-"]
    ),
    st.text(max_size=20),
)
FLAG_NAMES = st.sampled_from(
    [
        *("epochs", "data", "margin", "seed", "alpha", "mining", "metric_loss_options", "model.dropout", "run", "json"),
        *("model.decoder_channels", "images.augment.flip", "trainer.devices", "output", "fpr", "level", "model"),
        *("", "model.", ".", "config", "print_config", "metric-loss", "no", "groups", "resamples", "optimizer.lr"),
    ]
)
WHOLE_FLAGS = st.tuples(FLAG_NAMES, FLAG_WORDS).map("--{0[0]}={0[1]}".format)
FLAGS = st.lists(st.one_of(FLAG_WORDS, FLAG_NAMES.map("--{}".format), WHOLE_FLAGS), max_size=6)


def _flags(arguments: list[str], folder: Path) -> None:
    for command in COMMANDS:
        with suppress(SystemExit):  # --help, --print_config
            _each(lambda command=command: command.parse(arguments))


ARRAY_SEEDS = [
    array(EMBEDDINGS),
    array(EMBEDDINGS.astype(">f8")),
    array(np.asfortranarray(EMBEDDINGS)),
    array(LABELS),
    array(LABELS.astype(str)),
    array(LABELS.astype("S2")),
    array(EMBEDDINGS.astype(np.longdouble)),
    shaped("(4, 3)"),
    archive(),
    b"a\nb\n",
]


def _arrays(content: bytes, folder: Path) -> None:
    path = _file(folder, "e.npy", content)
    _each(
        lambda: read_embeddings(path),
        lambda: read_labels(path, ROWS, path),
        lambda: read_embeddings(path.rename(folder / "e.npz")),
    )


def run_files(run: Path) -> Target:
    """The files of a run, each damaged and read by its own reader.

    Args:
        run: a trained run.
    """
    names = ("metrics.json", "thresholds.json", "history.csv", "split.csv", "embeddings.parquet", "config.yaml")
    seeds = {name: [(run / name).read_bytes()] for name in names}
    seeds["thresholds.json"].append(json.dumps(THRESHOLD).encode())
    weights = (run / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", weights[:8])
    header, tensors = weights[: 8 + length], weights[8 + length :]
    checkpoint = (run / "checkpoints" / "last.ckpt").read_bytes()
    head, tail = checkpoint[:200_000], checkpoint[-40_000:]
    which = st.sampled_from(sorted(seeds))
    inputs = st.one_of(
        which.flatmap(lambda name: st.tuples(st.just(name), damaged(seeds[name]))),
        st.tuples(st.just("model.safetensors"), damaged([header])),
        st.tuples(st.just("last.ckpt, head"), damaged([head])),
        st.tuples(st.just("last.ckpt, tail"), damaged([tail])),
    )
    readers: dict[str, Callable[[Path], Any]] = {
        "metrics.json": Results.read,
        "thresholds.json": read_thresholds,
        "history.csv": read_history,
        "split.csv": lambda path: _read_split(path.parent),
        "embeddings.parquet": read_judged_items,
        "config.yaml": read_config,
        "model.safetensors": load_model,
        "last.ckpt": read_checkpoint,
    }

    def call(given: tuple[str, bytes], folder: Path) -> None:
        name, content = given
        name, _, part = name.partition(", ")
        if name == "model.safetensors":
            content += tensors
        if part:
            content = content + checkpoint[len(head) :] if part == "head" else checkpoint[: -len(tail)] + content
        path = _file(folder, name, content)
        _each(lambda: readers[name](path))

    return Target(inputs, call)


def _read_split(run: Path) -> None:
    from triune.run.split import with_split_of

    frame = pl.DataFrame({"image": [f"{i}.png" for i in range(ROWS)], "identity": ["a"] * ROWS})
    with_split_of(run, from_frame(frame, source="made", folder=run))


def targets(run: Path) -> dict[str, Target]:
    """All of them by name.

    Args:
        run: a trained run.
    """
    return {
        "tables": Target(texts(ITEM_SEEDS, ',;\t\n\r" '), _tables),
        "Parquet": Target(st.one_of(damaged(PARQUET_SEEDS), _frames()), _parquet),
        "lists": Target(texts(LIST_SEEDS, "\n\r "), _lists),
        "pair lists": Target(texts(PAIR_SEEDS, ",;\t\n 12"), _pairs),
        "images and masks": Target(damaged(PICTURES), _images),
        "settings in YAML": Target(texts(CONFIG_SEEDS, "\n :-{}[],&*!?'\""), _settings),
        "flags": Target(FLAGS, _flags),
        "arrays": Target(st.one_of(damaged(ARRAY_SEEDS), _headers()), _arrays),
        "files of a run": run_files(run),
    }


@st.composite
def _headers(draw: st.DrawFn) -> bytes:
    """A .npy file whose header says anything."""
    number = st.sampled_from([-1, 0, 1, 3, 12, 2**31, 2**62, 2**64, 10**30])
    odd = st.sampled_from(["()", "3", "'a'", "(True,)"])
    shape = draw(st.one_of(st.lists(number, max_size=4).map(tuple).map(str), odd))
    kinds = ["<f4", ">f8", "|O", "<U3", "|S0", "<U99999999", "|V8", "<f16", "<c8", "<M8[s]", "|b1", "<i8", "<f2", "x"]
    return shaped(shape, draw(st.sampled_from(kinds)), data=draw(st.binary(max_size=300)))
