"""Tables that are none, or whose rows are wrong: of items, of groups, of templates, of scores."""

from io import BytesIO

import polars as pl

from malformed.case import FILES, ITEMS, LABELS, ROWS, SMALL, SOUND, Case, array, cases, replaced

TRAIN = f"train --output out {SMALL} --data"
OF_FILES = "evaluate --output out --embeddings e.npy --labels l.npy"
MANY = 5000


def parquet(**columns) -> bytes:
    out = BytesIO()
    pl.DataFrame(columns).write_parquet(out)
    return out.getvalue()


def as_parquet(lines: list[str]) -> bytes:
    out = BytesIO()
    pl.read_csv("\n".join(lines).encode(), infer_schema=False).write_parquet(out)
    return out.getvalue()


def no_table(lines: list[str]) -> dict:
    """What no reader of CSV may take for a table, made of a sound one."""
    text = "\n".join(lines) + "\n"
    first = lines[0].split(",")
    return {
        "empty": ("", "is empty"),
        "blank lines": ("\n\n  \n", "is empty"),
        "a byte-order mark alone": ("\ufeff", "is empty"),
        "UTF-16": (text.encode("utf-16"), "not UTF-8"),
        "UTF-32 without a mark": (text.encode("utf-32-le"), "not UTF-8"),
        "Latin-1": (text.replace(",a", ",é").replace("1", "ü").encode("latin-1"), "not UTF-8"),
        "a zero byte": (text.replace("\n", "\0\n", 1), "zero bytes"),
        "a PNG": (ITEMS["0.png"], "not UTF-8"),
        "cut in a character": (text.encode() + "é".encode()[:1], "not UTF-8"),
        "a quote that is not closed": (text + '"never closed', f"row {len(lines) + 1}", "quotes"),
        "text after a quote": (text + '"a"b\n', f"row {len(lines) + 1}", "quotes"),
        "a row too long": (text + ",".join("x" * (len(first) + 1)) + "\n", f"row {len(lines) + 1}", "cells"),
        "two columns of a name": (text.replace(first[0], first[0] + "," + first[0], 1), "two columns called"),
        "names but for capitals": (text.replace(first[0], first[0] + "," + first[0].upper(), 1), "two columns called"),
        "many columns": (",".join(f"c{i}" for i in range(MANY)) + "\n", f"{MANY} columns"),
        "a cell of 200,000 characters": (text + "x" * 200_000 + "\n", f"row {len(lines) + 1}"),
    }


def no_parquet(lines: list[str]) -> dict:
    sound = as_parquet(lines)
    return {
        "empty": (b"", "cannot be read as a table"),
        "a CSV": ("\n".join(lines), "cannot be read as a table"),
        "cut short": (sound[:-20], "cannot be read as a table"),
        "the end alone": (sound[-40:], "cannot be read as a table"),
        "its length changed": (sound[:-8] + b"\xff\xff\xff\x7f" + sound[-4:], "cannot be read as a table"),
        "zeros in its middle": (b"PAR1" + bytes(len(sound) - 8) + b"PAR1", "cannot be read as a table"),
        "no columns": (parquet(), "column"),
    }


ODD_TYPES = {
    "lists": pl.Series([["a"]] * ROWS),
    "structs": pl.Series([{"a": 1}] * ROWS),
    "bytes": pl.Series([b"a"] * ROWS),
    "arrays": pl.Series([[1, 2]] * ROWS, dtype=pl.Array(pl.Int64, 2)),
    "durations": pl.Series([1] * ROWS, dtype=pl.Duration),
}

ITEM_FAULTS = {
    "a header alone": (SOUND[0] + "\n", "no rows"),
    "no image column": ("file,label\na.png,x\n", "no column 'image'"),
    "a column that looks misspelt": ("imgae,label\na.png,x\n", "imgae"),
    "masks for mask": ("\n".join([SOUND[0] + ",masks", *(f"{row},m.png" for row in SOUND[1:])]), "masks"),
    "no such image": (replaced(3, "none.png,a,p0,train"), "row 3, column image", "none.png"),
    "an image that is a folder": (replaced(3, ".,a,p0,train"), "row 3, column image", "folder"),
    "an empty image": (replaced(3, ",a,p0,train"), "row 3, column image", "empty"),
    "an image listed twice": (replaced(3, "0.png,a,p0,train"), "row 3, column image", "row 2"),
    "an unknown split": (replaced(3, "1.png,b,p0,trian"), "row 3, column split", "trian"),
    "an empty split": (replaced(3, "1.png,b,p0,"), "row 3, column split", "empty"),
    "a lonely identity": (replaced(3, "1.png,b,p9,train"), "identity"),
    "a path too long": (replaced(3, "a" * 5000 + ".png,a,p0,train"), "row 3, column image"),
    "a row too short": (replaced(3, "1.png,b"), "row 3", "2 cells"),
    "a quoted line break before a fault": (replaced(2, '"0\n.png",a,p0,train'), "row 2, column image"),
    "is_query of another word": (
        "\n".join([SOUND[0] + ",is_query", *(f"{row},{'maybe' if i == 4 else 1}" for i, row in enumerate(SOUND[1:]))]),
        "row 6, column is_query",
        "maybe",
    ),
}

OF_A_GROUP = ["camera", *(f"c{i % 2}" for i in range(ROWS))]
OF_A_TEMPLATE = ["template", *(f"t{i // 3}" for i in range(ROWS))]
OF_SCORES = ["score,match", *(f"{i / 10},{i % 2}" for i in range(ROWS))]

ROW_FAULTS = {
    "too few rows": (OF_A_GROUP[:-1], f"{ROWS - 1} rows"),
    "too many rows": ([*OF_A_GROUP, "c0"], f"{ROWS + 1} rows"),
    "an empty cell": ([*OF_A_GROUP[:4], "", *OF_A_GROUP[5:]], "row 5, column camera", "empty"),
    "a cell of spaces": ([*OF_A_GROUP[:4], "   ", *OF_A_GROUP[5:]], "row 5, column camera", "empty"),
}

SCORE_FAULTS = {
    "no match": ("score\n0.1\n0.2\n", "match"),
    "no score": ("match\n1\n0\n", "score"),
    "score and distance": ("score,distance,match\n0.1,0.9,1\n0.2,0.8,0\n", "score", "distance"),
    "a header alone": ("score,match\n", "pair"),
    "a word for a score": (replaced(3, "high,1", OF_SCORES), "row 3, column score", "high"),
    "a decimal comma": ("score;match\n0.1;1\n0,2;0\n", "row 3, column score", "write 0.2"),
    "NaN": (replaced(3, "nan,1", OF_SCORES), "row 3, column score"),
    "an empty score": (replaced(3, ",1", OF_SCORES), "row 3, column score", "empty"),
    "a word for match": (replaced(3, "0.1,perhaps", OF_SCORES), "row 3, column match", "perhaps"),
    "2 for match": (replaced(3, "0.1,2", OF_SCORES), "row 3, column match"),
    "an empty match": (replaced(3, "0.1,", OF_SCORES), "row 3, column match"),
    "matches alone": ("score,match\n0.1,1\n0.2,1\n", "match"),
    "no match at all": ("score,match\n0.1,0\n0.2,0\n", "match"),
    "an empty fold": ("score,match,fold\n0.1,1,a\n0.2,0,\n0.3,0,b\n", "row 3, column fold"),
    "one fold": ("score,match,fold\n0.1,1,a\n0.2,0,a\n0.3,0,a\n", "fold"),
    "a misspelt column": ("scroe,match\n0.1,1\n0.2,0\n", "scroe"),
}

TABLES = [
    *cases("items", f"{TRAIN} t.csv", ITEMS, no_table(SOUND) | ITEM_FAULTS, into="t.csv"),
    *cases("items as Parquet", f"{TRAIN} t.parquet", ITEMS, no_parquet(SOUND), into="t.parquet"),
    *cases("groups", f"{OF_FILES} --groups t.csv", FILES, no_table(OF_A_GROUP), into="t.csv"),
    *cases(
        "groups",
        f"{OF_FILES} --groups t.csv",
        FILES,
        {name: ("\n".join(lines), says) for name, (lines, says, *_) in ROW_FAULTS.items()},
        into="t.csv",
    ),
    *cases("groups as Parquet", f"{OF_FILES} --groups t.parquet", FILES, no_parquet(OF_A_GROUP), into="t.parquet"),
    *cases("templates", f"{OF_FILES} --templates t.csv", FILES, no_table(OF_A_TEMPLATE), into="t.csv"),
    *cases("scores", "evaluate --output out --scores t.csv", {}, no_table(OF_SCORES) | SCORE_FAULTS, into="t.csv"),
    *cases("scores as Parquet", "evaluate --output out --scores t.pq", {}, no_parquet(OF_SCORES), into="t.pq"),
    *cases(
        "templates",
        f"{OF_FILES} --templates t.csv",
        FILES,
        {
            "no template": ("set\n" + "a\n" * ROWS, "template"),
            "two labels in one": ("template\n" + "a\n" * ROWS, "two labels"),
            "too few": ("template\na\n", "1 rows"),
            "empty media": (
                "template,media\n" + "".join(f"t{i // 3},{'m' * (i > 0)}\n" for i in range(ROWS)),
                "row 2, column media",
            ),
        },
        into="t.csv",
    ),
    *(
        Case(
            f"groups as Parquet: {name}",
            (*OF_FILES.split(), "--groups", "t.parquet"),
            ("t.parquet", "column camera"),
            {**FILES, "t.parquet": parquet(camera=column)},
        )
        for name, column in ODD_TYPES.items()
    ),
    *(
        Case(
            f"items as Parquet: {name} for labels",
            (*f"{TRAIN} t.parquet".split(),),
            ("t.parquet", "column label"),
            {**ITEMS, "t.parquet": parquet(image=[f"{i}.png" for i in range(ROWS)], label=column)},
        )
        for name, column in ODD_TYPES.items()
    ),
    *(
        Case(
            f"scores as Parquet: {name}",
            ("evaluate", "--scores", "t.parquet", "--output", "out"),
            ("t.parquet", "column score"),
            {"t.parquet": parquet(score=column, match=[True, False] * (ROWS // 2))},
        )
        for name, column in ODD_TYPES.items()
    ),
    Case("items: a spreadsheet", (*f"{TRAIN} t.xlsx".split(),), ("t.xlsx", ".csv"), {"t.xlsx": b"PK\x03\x04"}),
    Case("items: no such table", (*f"{TRAIN} t.csv".split(),), ("t.csv", "does not exist"), {}),
    Case("items: no such Parquet", (*f"{TRAIN} t.parquet".split(),), ("t.parquet", "does not exist"), {}),
    Case("items: a pattern", (*f"{TRAIN} *.csv".split(),), ("*.csv",), {"t.csv": "\n".join(SOUND)}),
    Case(
        "items: a folder with the name of a table", (*f"{TRAIN} t.csv".split(),), ("t.csv", "images"), {"t.csv/a": ""}
    ),
    Case(
        "scores: no such table", ("evaluate", "--output", "out", "--scores", "t.csv"), ("t.csv", "does not exist"), {}
    ),
    Case(
        "scores: a folder", ("evaluate", "--output", "out", "--scores", "t.csv"), ("t.csv", "folder"), {"t.csv/a": ""}
    ),
    Case("groups: no such table", (*OF_FILES.split(), "--groups", "t.csv"), ("t.csv", "does not exist"), FILES),
    Case(
        "groups: --exclude names no column",
        (*OF_FILES.split(), "--groups", "t.csv", "--exclude", "lens"),
        ("lens", "camera"),
        {**FILES, "t.csv": "\n".join(OF_A_GROUP)},
    ),
    Case(
        "groups: --exclude leaves no matching pair",
        (*OF_FILES.split(), "--groups", "t.csv", "--exclude", "session"),
        ("--exclude",),
        {**FILES, "t.csv": "session\n" + "\n".join(str(label) for label in LABELS)},
    ),
    Case(
        "groups: labels that hold one identity",
        (*OF_FILES.split(),),
        ("l.npy",),
        {**FILES, "l.npy": array(LABELS * 0)},
    ),
]
