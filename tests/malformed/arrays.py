"""Embeddings, labels and other models' embeddings in .npy files, and thresholds for them."""

import json

import numpy as np

from malformed.case import EMBEDDINGS, FILES, ITEMS, LABELS, ROWS, Case, array, cases

COMMAND = "evaluate --output out --embeddings e.npy --labels l.npy"
SOUND = FILES["e.npy"]


def with_header(header: str, data: bytes = b"\0" * 192) -> bytes:
    """A .npy file of version 1 with any text for a header."""
    text = header.encode("latin-1")
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def shaped(shape: str, kind: str = "<f4", **options) -> bytes:
    return with_header(f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}", **options)


def archive(name: str = "e") -> bytes:
    from io import BytesIO

    out = BytesIO()
    np.savez(out, **{name: EMBEDDINGS})
    return out.getvalue()


NO_ARRAY = {
    "empty": (b"", "not a whole .npy"),
    "words": ("1 2 3\n4 5 6\n", "not a whole .npy"),
    "an image": (ITEMS["0.png"], "not a whole .npy"),
    "a pickle": (b"\x80\x04K\x01.", "not a whole .npy"),
    "objects": (array(np.array([{}] * ROWS, dtype=object), allow_pickle=True), "not a whole .npy"),
    "cut in its data": (SOUND[:-1], "not a whole .npy"),
    "cut in its header": (SOUND[:40], "not a whole .npy"),
    "cut after its magic": (SOUND[:6], "not a whole .npy"),
    "an unknown version": (b"\x93NUMPY\x09" + SOUND[7:], "not a whole .npy"),
    "a header that is no dictionary": (with_header("[1, 2]"), "not a whole .npy"),
    "a header that calls a function": (with_header("__import__('os').mkdir('made')"), "not a whole .npy"),
    "a header of brackets": (with_header("(" * 5000), "not a whole .npy"),
    "a header of minus signs": (with_header("-" * 9000 + "1"), "not a whole .npy"),
    "a header of additions": (with_header("+".join("1" * 4000)), "not a whole .npy"),
    "a header of zero bytes": (with_header("\0" * 100), "not a whole .npy"),
    "a header without a shape": (with_header("{'descr': '<f4', 'fortran_order': False}"), "not a whole .npy"),
    "a shape of words": (shaped("('18', 4)"), "not a whole .npy"),
    "a negative shape": (shaped("(-18, 4)"), "e.npy"),
    "a shape beyond memory": (shaped("(1099511627776, 1024)"), "e.npy"),
    "a shape beyond int64": (shaped("(99999999999999999999999, 4)"), "e.npy"),
    "a shape that multiplies to zero": (shaped("(4294967296, 4294967296, 0)"), "e.npy"),
    "a type that is none": (shaped("(18, 4)", "<q9"), "not a whole .npy"),
    "a type of 5,000 fields": (
        with_header(
            "{'descr': " + repr([(f"f{i}", "<f4") for i in range(500)]) + ", 'fortran_order': False, 'shape': (1,)}"
        ),
        "e.npy",
    ),
    "an archive": (archive(), "archive"),
    "an archive cut short": (archive()[:100], "e.npy"),
    "an archive of nothing": (b"PK\x05\x06" + bytes(18), "e.npy"),
}

NO_EMBEDDINGS = {
    "whole numbers": (array(EMBEDDINGS.astype(np.int64)), "int64"),
    "booleans": (array(EMBEDDINGS > 0), "bool"),
    "complex numbers": (array(EMBEDDINGS.astype(complex)), "complex"),
    "strings": (array(EMBEDDINGS.astype(str)), "e.npy"),
    "dates": (array(EMBEDDINGS.astype("datetime64[s]")), "e.npy"),
    "records": (array(np.zeros(ROWS, dtype=[("a", "f4"), ("b", "f4")])), "e.npy"),
    "one number": (array(np.float32(1)), "shape"),
    "one dimension": (array(EMBEDDINGS[:, 0].copy()), "shape"),
    "three dimensions": (array(EMBEDDINGS[None]), "shape"),
    "no columns": (array(EMBEDDINGS[:, :0]), "shape"),
    "no rows": (array(EMBEDDINGS[:0]), "e.npy"),
    "one row": (array(EMBEDDINGS[:1]), "e.npy"),
    "NaN": (array(np.where(np.arange(4) == 1, np.nan, EMBEDDINGS)), "e.npy"),
    "infinity": (array(np.where(np.arange(4) == 1, np.inf, EMBEDDINGS)), "e.npy"),
    "fewer rows than labels": (array(EMBEDDINGS[1:]), f"{ROWS - 1} rows"),
}

NO_LABELS = {
    "floats": (array(LABELS / 2), "float64"),
    "complex numbers": (array(LABELS.astype(complex)), "complex"),
    "dates": (array(LABELS.astype("datetime64[D]")), "datetime64"),
    "objects": (array(LABELS.astype(object), allow_pickle=True), "not a whole .npy"),
    "records": (array(np.zeros(ROWS, dtype=[("a", "i4")])), "l.npy"),
    "two columns": (array(np.stack([LABELS, LABELS], 1)), f"shape ({ROWS}, 2)"),
    "one number": (array(np.int64(3)), "l.npy"),
    "too few": (array(LABELS[1:]), f"{ROWS - 1} labels"),
    "none": (array(LABELS[:0]), "0 labels"),
    "one identity": (array(LABELS * 0), "l.npy"),
    "no identity twice": (array(np.arange(ROWS)), "l.npy"),
    "cut short": (FILES["l.npy"][:-1], "not a whole .npy"),
}

THRESHOLD = {
    "metric": "cosine",
    "target_fpr": 0.05,
    "threshold": 0.5,
    "lowest_accepted": 0.5,
    "tpr": 0.9,
    "fpr": 0.04,
    "fitted_on": "validation pairs",
    "matches": 9,
    "impostors": 99,
    "reliable": False,
    "reason": "few",
}
NO_THRESHOLD = {
    "empty": ("", "no JSON"),
    "words": ("0.5", "t.json"),
    "cut short": (json.dumps(THRESHOLD)[:-9], "no JSON"),
    "a list": ("[0.5]", "t.json"),
    "nothing": ("{}", "t.json"),
    "null": ("null", "t.json"),
    "a deep list": ("[" * 100_000, "t.json"),
    "a deep list that ends": ("[" * 50_000 + "]" * 50_000, "t.json"),
    "a number of 10,000 digits": ('{"threshold": ' + "9" * 10_000 + "}", "t.json"),
    "UTF-16": ('{"threshold": 1}'.encode("utf-16"), "UTF-8"),
    "a lone surrogate": ('{"threshold": "\\ud800", "metric": "cosine", "target_fpr": 0.1}', "t.json"),
    "a word for a number": (json.dumps(THRESHOLD | {"threshold": "high"}), "threshold"),
    "no metric": (json.dumps({name: each for name, each in THRESHOLD.items() if name != "metric"}), "metric"),
    "an unknown metric": (json.dumps(THRESHOLD | {"metric": "manhattan"}), "metric"),
}

ARRAYS = [
    *cases("embeddings", COMMAND, FILES, NO_ARRAY | NO_EMBEDDINGS, into="e.npy"),
    *cases("labels in an array", COMMAND, FILES, NO_LABELS, into="l.npy"),
    *cases(
        "another model's embeddings",
        f"{COMMAND} --against o.npy",
        FILES,
        {
            name: (content, *("o.npy" if word == "e.npy" else word for word in says))
            for name, (content, *says) in (NO_ARRAY | NO_EMBEDDINGS).items()
            if name in ("cut in its data", "an archive", "whole numbers", "no columns", "NaN", "fewer rows than labels")
        },
        into="o.npy",
    ),
    *cases("a threshold", f"{COMMAND} --threshold t.json", FILES, NO_THRESHOLD, into="t.json"),
    Case("embeddings: no such file", tuple(COMMAND.split()), ("e.npy", "does not exist"), {"l.npy": FILES["l.npy"]}),
    Case(
        "embeddings: a folder",
        tuple(COMMAND.split()),
        ("e.npy", "cannot be read"),
        {"e.npy/a": "", "l.npy": FILES["l.npy"]},
    ),
    Case(
        "labels in an array: no such file",
        tuple(COMMAND.split()),
        ("l.npy", "does not exist"),
        {"e.npy": FILES["e.npy"]},
    ),
    Case(
        "a threshold: of another metric",
        (*COMMAND.split(), "--threshold", "t.json", "--metric", "euclidean"),
        ("t.json", "--metric cosine"),
        {**FILES, "t.json": json.dumps(THRESHOLD)},
    ),
    Case("a threshold: no such file", (*COMMAND.split(), "--threshold", "t.json"), ("t.json",), FILES),
]
