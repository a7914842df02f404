"""Text lists of labels and names, and lists of pairs: CSV and LFW's pairs.txt."""

from malformed.case import EMBEDDINGS, FILES, ITEMS, LABELS, ROWS, Case, array, cases
from malformed.tables import no_parquet, no_table

OF_LABELS = "evaluate --output out --embeddings e.npy --labels l.txt"
OF_PAIRS = "evaluate --output out --embeddings e.npy --pairs"
OF_NAMES = "evaluate --output out --embeddings e.npy --pairs p.csv --names n.txt"
SOUND = [f"p{label}" for label in LABELS]
TEXT = "\n".join(SOUND) + "\n"
PAIRS = ["first,second,match", "0,1,1", "0,3,0", "4,5,1", "5,9,0"]

NO_LIST = {
    "empty": ("", "0"),
    "UTF-16": (TEXT.encode("utf-16"), "not UTF-8"),
    "Latin-1": (TEXT.replace("p1", "é").encode("latin-1"), "not UTF-8"),
    "zero bytes": (TEXT.replace("\n", "\0\n"), "zero bytes"),
    "an image": (ITEMS["0.png"], "not UTF-8"),
    "too few lines": ("\n".join(SOUND[1:]), f"{ROWS - 1}"),
    "too many lines": (TEXT + "p9\n", f"{ROWS + 1}"),
    "an empty line between": (TEXT.replace("p1\n", "\n", 1), "row 4"),
    "a line of spaces": (TEXT.replace("p1\n", " \t\n", 1), "row 4"),
    "a line of no-break spaces": (TEXT.replace("p1\n", "\u00a0\n", 1), "row 4"),
    "line separators of Unicode": ("\u2028".join(SOUND), "1 "),
}
LABEL_FAULTS = {
    f"{word!r} for a label": (TEXT.replace("p1\n", word + "\n", 1), "row 4", word)
    for word in ("NaN", "nan", "NA", "<NA>", "None")
} | {"one label": ("p1\n" * ROWS, "l.txt"), "no label twice": ("".join(f"p{i}\n" for i in range(ROWS)), "l.txt")}

PAIR_FAULTS = {
    "a header alone": (PAIRS[0] + "\n", "no pair"),
    "no second": ("first,match\n0,1\n", "second"),
    "no match": ("first,second\n0,1\n", "match"),
    "a misspelt column": ("first,secnd,match\n0,1,1\n", "secnd"),
    "no such row": ("\n".join([*PAIRS, "0,99,0"]), "99"),
    "a negative row": ("\n".join([*PAIRS, "0,-1,0"]), "-1"),
    "a row by another form of its number": ("\n".join([*PAIRS, "0,01,0"]), "'01'"),
    "a pair of one image": ("\n".join([*PAIRS, "3,3,1"]), "row 6", "itself"),
    "a pair that contradicts itself": ("\n".join([*PAIRS, "1,0,0"]), "row 6", "row 2"),
    "an empty first": ("\n".join([*PAIRS, ",3,1"]), "row 6, column first"),
    "an empty second": ("\n".join([*PAIRS, "3,,1"]), "row 6, column second"),
    "a word for match": ("\n".join([*PAIRS, "3,4,same"]), "row 6, column match", "same"),
    "an empty fold": ("first,second,match,fold\n0,1,1,a\n0,3,0,\n", "row 3, column fold"),
    "matches alone": ("first,second,match\n0,1,1\n", "match"),
    "no match at all": ("first,second,match\n0,1,0\n", "match"),
    "one fold": ("first,second,match,fold\n0,1,1,a\n0,3,0,a\n", "fold"),
}
LFW_FAULTS = {
    "5,000 digits": ("9" * 5000 + "\na 1 2\n", "announced"),
    "5,000 digits twice": ("9" * 5000 + " " + "9" * 5000 + "\na 1 2\n", "announced"),
    "an image of 5,000 digits": ("1\na 1 " + "9" * 5000 + "\na 1 b 1\n", "row 2"),
    "more announced than listed": ("10 300\na 1 2\n", "6000", "1 lines"),
    "none announced": ("0\na 1 2\n", "announced"),
    "no pair announced or listed": ("0 0\n", "no pair"),
    "a line of two words": ("1\na 1\na 1 b 2\n", "row 2", "2 words"),
    "a line of five words": ("1\na 1 2\na 1 b 2 c\n", "row 3", "5 words"),
    "a word for a number": ("1\na one 2\na 1 b 2\n", "row 2", "one"),
    "image 0": ("1\na 0 2\na 1 b 2\n", "row 2"),
    "an image with itself": ("1\na 2 2\na 1 b 2\n", "row 2", "itself"),
    "two people of one name": ("1\na 1 2\na 1 a 2\n", "row 3"),
    "in another order": ("1\na 1 2\nb 1 2\n", "row 3"),
    "images that have no embedding": ("1\na 1 2\na 1 b 2\n", "a_0001.jpg"),
    "digits of other scripts": ("1\na ٣ 2\na 1 b 2\n", "row 2"),
    "UTF-16": ("1\na 1 2\na 1 b 2\n".encode("utf-16"), "not UTF-8"),
}

LISTS = [
    *cases("labels", OF_LABELS, FILES, NO_LIST | LABEL_FAULTS, into="l.txt"),
    *cases("names", OF_NAMES, {**FILES, "p.csv": "\n".join(PAIRS)}, NO_LIST, into="n.txt"),
    *cases("pairs", f"{OF_PAIRS} p.csv", FILES, no_table(PAIRS) | PAIR_FAULTS, into="p.csv"),
    *cases("pairs as Parquet", f"{OF_PAIRS} p.parquet", FILES, no_parquet(PAIRS), into="p.parquet"),
    *cases("LFW's pairs", f"{OF_PAIRS} pairs.txt", FILES, LFW_FAULTS, into="pairs.txt"),
    Case(
        "names: one name for two rows",
        tuple(OF_NAMES.split()),
        ("'p0'", "two rows"),
        {**FILES, "p.csv": "first,second,match\np0,p1,0\np1,p2,1\n", "n.txt": TEXT},
    ),
    Case("labels: no such list", tuple(OF_LABELS.split()), ("l.txt", "does not exist"), FILES),
    Case("labels: a folder", tuple(OF_LABELS.split()), ("l.txt", "cannot be read"), {**FILES, "l.txt/a": ""}),
    Case("pairs: no such list", (*OF_PAIRS.split(), "p.csv"), ("p.csv", "does not exist"), FILES),
    Case("pairs: no such Parquet", (*OF_PAIRS.split(), "p.parquet"), ("p.parquet", "does not exist"), FILES),
    Case(
        "pairs: an embedding without a direction",
        (*OF_PAIRS.split(), "p.csv"),
        ("e.npy",),
        {"e.npy": array(EMBEDDINGS * float("nan")), "p.csv": "\n".join(PAIRS)},
    ),
]
