"""Runs whose files are missing, cut short, of another kind, or say what cannot be."""

import json
import struct

import yaml

from malformed.case import ITEMS, Case, picture

EVALUATE, VERIFY, REPORT = ("evaluate", "RUN"), ("verify", "RUN", "a.png", "b.png"), ("report", "RUN")
RESUME = ("train", "--resume", "RUN", "--epochs", "2")
PAIR = {"a.png": picture(0), "b.png": picture(1)}


def removed(path):
    path.unlink()


def emptied(path):
    path.write_bytes(b"")


def halved(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def a_folder(path):
    path.unlink()
    path.mkdir()


def other(content):
    def write(path):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return write


def flipped(place):
    """One bit changed, at a share of the length."""

    def write(path):
        content = bytearray(path.read_bytes())
        content[int(place * len(content))] ^= 16
        path.write_bytes(content)

    return write


def changed(*names, to, load=json.loads, dump=json.dumps):
    """A field of a JSON or YAML file set to something else; ``None`` for a name takes the first of a list."""

    def write(path):
        whole = load(path.read_text())
        part = whole
        for name in names[:-1]:
            part = part[name]
        part[names[-1]] = to
        path.write_text(dump(whole))

    return write


def without(*names):
    def write(path):
        whole = json.loads(path.read_text())
        part = whole
        for name in names[:-1]:
            part = part[name]
        del part[names[-1]]
        path.write_text(json.dumps(whole))

    return write


def setting(*names, to):
    return changed(*names, to=to, load=yaml.safe_load, dump=yaml.safe_dump)


def card(**fields):
    """Another model card in the weights' file."""

    def write(path):
        content = path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        stored = json.loads(header["__metadata__"]["card"])
        for name, value in fields.items():
            (stored["model"] if name in stored["model"] else stored)[name] = value
        header["__metadata__"]["card"] = json.dumps(stored)
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])

    return write


def cell(line, column, text):
    """One cell of a CSV without quotes."""

    def write(path):
        rows = [row.split(",") for row in path.read_text().splitlines()]
        rows[line - 1][rows[0].index(column)] = text
        path.write_text("\n".join(map(",".join, rows)) + "\n")

    return write


ANY_FILE = {
    "missing": removed,
    "empty": emptied,
    "cut short": halved,
    "a PNG": other(ITEMS["0.png"]),
    "a folder": a_folder,
}
DEEP = "[" * 100_000
NO_JSON = {"a list": other("[]"), "null": other("null"), "nothing": other("{}"), "deep": other(DEEP)}

FAULTS = {
    ("model.safetensors", VERIFY): {
        **ANY_FILE,
        "no card": other(struct.pack("<Q", 2) + b"{}"),
        "a header of a terabyte": other(struct.pack("<Q", 1 << 40) + b"{}"),
        "a pickle": other(b"\x80\x04K\x01."),
        "another backbone in its card": card(backbone="resnet18"),
        "an unknown backbone in its card": card(backbone="resnet99"),
        "an unknown decoder in its card": card(decoder="unett"),
        "a huge embedding in its card": card(embedding_dim=10**12),
        "huge classes in its card": card(num_classes=10**12),
        "huge masks in its card": card(mask_channels=10**12),
        "a huge decoder in its card": card(decoder_channels=[10**9] * 5),
        "a negative embedding in its card": card(embedding_dim=-1),
        "no image size in its card": card(size=[0, 32]),
        "a huge image size in its card": card(size=[10**9, 10**9]),
        "five channels in its card": card(channels=5),
        "a stage that is none in its card": card(embedding_stage=77),
        "a dropout of 7 in its card": card(dropout=7.0),
        "an unknown metric in its card": card(metric="manhattan"),
        "a word for a number in its card": card(embedding_dim="many"),
    },
    ("thresholds.json", VERIFY): {
        **ANY_FILE,
        **NO_JSON,
        "a word for a threshold": changed("thresholds", 0, "threshold", to="high"),
        "another metric": changed("metric", to="manhattan"),
        "no list": changed("thresholds", to={}),
        "another budget": changed("target_fpr", to=0.123),
        "a budget of 7": changed("thresholds", 0, "target_fpr", to=7),
        "no metric": without("metric"),
        "an unknown field": changed("secret", to=1),
        "a later format": changed("format", to=99),
    },
    ("metrics.json", REPORT): {
        **ANY_FILE,
        **NO_JSON,
        "a later format": changed("format", to=99),
        "a word for the models": changed("models", to="none"),
        "no name": without("name"),
        "a number for a name": changed("name", to=3),
        "a deep field": changed("data", to=json.loads("[" * 500 + "]" * 500)),
    },
    ("embeddings.parquet", REPORT): {name: ANY_FILE[name] for name in ("empty", "cut short", "a PNG")},
    ("history.csv", REPORT): {
        "empty": emptied,
        "a PNG": other(ITEMS["0.png"]),
        "words": other("a word\n"),
        "no step": other("epoch\n0\n"),
        "a word for a number": cell(2, "step", "first"),
        "half a row": other("epoch,step\n0\n1,2,3\n"),
    },
    ("config.yaml", EVALUATE): {
        **{name: each for name, each in ANY_FILE.items() if name != "cut short"},
        "nothing": other("{}\n"),
        "a list": other("[]\n"),
        "an unknown setting": setting("epoch", to=3),
        "a setting out of range": setting("batch_size", to=0),
        "data that are gone": setting("data", to="none.csv"),
        "a zero byte in its data": setting("data", to="t\0.csv"),
        "a deep value": other("data: x\nmetric_loss_options: " + "[" * 30_000),
        "a tag of Python": other("data: !!python/object/apply:os.mkdir [made]\n"),
    },
    ("model.safetensors", EVALUATE): {
        "missing": removed,
        "cut short": halved,
        "a flipped bit in its header": flipped(0.0001),
    },
    ("thresholds.json", EVALUATE): {
        "empty": emptied,
        "deep": other(DEEP),
        "another budget": changed("target_fpr", to=0.123),
    },
    ("metrics.json", EVALUATE): {"empty": emptied, "deep": other(DEEP), "a list": other("[]")},
    ("split.csv", EVALUATE): {
        "empty": emptied,
        "a PNG": other(ITEMS["0.png"]),
        "no split": other("image,identity\na.png,x\n"),
        "no rows": other("image,identity,split\n"),
        "an empty split": cell(3, "split", ""),
        "an unknown split": cell(3, "split", "tset"),
        "a relative path": cell(3, "image", "a.png"),
        "a relative mask": cell(3, "mask", "m.png"),
        "an image that is gone": cell(3, "image", "/none.png"),
    },
    ("config.yaml", RESUME): {
        "missing": removed,
        "empty": emptied,
        "a PNG": ANY_FILE["a PNG"],
        "nothing": other("{}\n"),
        "an unknown setting": setting("epoch", to=3),
    },
    ("checkpoints/last.ckpt", RESUME): {
        "empty": emptied,
        "cut short": halved,
        "a PNG": other(ITEMS["0.png"]),
        "a pickle": other(b"cos\nmkdir\n(S'made'\ntR."),
        "a flipped bit": flipped(0.5),
    },
}

SAYS = {"data that are gone": ("none.csv",), "an image that is gone": ("/none.png",), "missing": ("RUN",)}
"""What is named in place of the file."""

RUN_FILES = [
    Case(
        f"{arguments[0]}, {file}: {name}",
        arguments,
        SAYS.get(name, ("RUN", file.split("/")[-1])),
        {f"RUN/{file}": damage, **(PAIR if arguments is VERIFY else {})},
    )
    for (file, arguments), faults in FAULTS.items()
    for name, damage in faults.items()
] + [
    Case("evaluate: no such run", ("evaluate", "none"), ("none", "name a run folder"), {}),
    Case("report: no such run", ("report", "none"), ("none", "does not exist"), {}),
    Case("verify: no such run", ("verify", "none", "a.png", "b.png"), ("none", "does not exist"), PAIR),
    Case("evaluate: a file for a run", ("evaluate", "a.png"), ("a.png", "name a run folder"), PAIR),
    Case("report: a file for a run", ("report", "a.png"), ("a.png",), PAIR),
    Case("evaluate: against no run", ("evaluate", "RUN", "--against", "none"), ("none",), {}),
    Case("evaluate: a column that is none", ("evaluate", "RUN", "--groups", "camera"), ("--groups", "camera"), {}),
    Case("evaluate: output into the run", ("evaluate", "RUN", "--output", "RUN"), ("RUN", "--output"), {}),
    Case("train: into a run", ("train", "--data", "digits", "--output", "RUN"), ("RUN", "--resume"), {}),
]
