"""Flags and YAML: values out of range, names that there are none of, and files that are no settings."""

from malformed.case import FILES, ITEMS, SOUND, Case

TABLE = {**ITEMS, "t.csv": "\n".join(SOUND) + "\n"}

OUT_OF_RANGE = """
--epochs 0|--epochs -3|--epochs 1.5|--epochs many|--batch_size 1|--batch_size 0|--alpha -1|--alpha nan|--alpha inf|
--beta -0.1|--gamma one|--margin -1|--margin hard|--margin nan|--mining softest|--metric manhattan|--seed -1|
--seed 4294967296|--split maybe|--target_fpr 5|--target_fpr 0|--target_fpr 1|--target_fpr nan|--samples_per_class 1|
--images.size 0|--images.size big|--images.channels 2|--images.channels 4|--images.workers -1|--images.cache_mib -1|
--images.collages -1|--images.augment.flip 2|--images.augment.crop 0|--images.augment.rotate -1|--model.dropout 1|
--model.dropout -0.1|--model.mask_channels -2|--model.mask_channels 256|--model.embedding_dim -1|
--model.decoder_channels [8,0]|--model.decoder_channels [a]|--model.pooling max|--loss.reduction median|
--loss.dice -1|--loss.label_smoothing 2|--loss.weighting none|--loss.memory -1|--optimizer.lr 0|--optimizer.lr -1|
--optimizer.lr inf|--optimizer.schedule linear|--optimizer.warmup 2|--optimizer.clip -1|--optimizer.average 1|
--optimizer.weight_decay -1|--trainer.precision 8|--trainer.accelerator xyz|--trainer.devices 0|
--trainer.devices -1|--trainer.patience -1|--trainer.validate_every 0|--trainer.on_nonfinite ignore|
--trainer.deterministic perhaps|--model.pretrained 2|--fpr_confidence 0|--fpr_confidence 1|--fpr_confidence sure|
--calibration 1|--calibration -0.1|--calibration nan
"""

UNKNOWN = {
    "--epoch 3": ("--epochs",),
    "--lr 0.1": ("--lr",),
    "--model.size 3": ("--model.size",),
    "--run x": ("--output",),
    "--optimizer.lrr 1": ("--optimizer.lr",),
    "--no_such_flag": ("--no_such_flag",),
    "-x 3": ("-x",),
    "items.csv": ("items.csv",),
    "--": (),
    "--data": ("--data",),
    "--config": ("--config",),
    "--=3": (),
    "--resume none": ("none", "--resume"),
}

JUDGING = {
    "--level 95": ("--level",),
    "--level 0": ("--level",),
    "--resamples -1": ("--resamples",),
    "--seed -1": ("--seed",),
    "--metric manhattan": ("--metric",),
    "--labells l.npy": ("--labels",),
}

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi")
)
NO_SETTINGS = {
    "a list": ("[1, 2]", "holds no settings"),
    "a word": ("epochs", "holds no settings"),
    "a number": ("3", "holds no settings"),
    "an unknown name": ("epoch: 3\n", "epoch", "did you mean epochs"),
    "an unknown name in a group": ("model: {droput: 0.1}\n", "model.droput", "did you mean model.dropout"),
    "a name in another group": ("model: {size: 3}\n", "model.size", "images.size"),
    "an unknown group": ("modell: {dropout: 0.1}\n", "modell"),
    "a number for a group": ("model: 3\n", "model", "settings of its own"),
    "a list for a group": ("model: [dropout]\n", "model", "settings of its own"),
    "a name that is a number": ("3: 4\n", "no setting 3"),
    "a name that is null": ("~: 4\n", "no setting"),
    "a name that is a list": ("? [a, b]\n: 4\n", "line 1"),
    "a name twice": ("epochs: 3\nseed: 1\nepochs: 4\n", "line 3", "'epochs'"),
    "a name twice in a group": ("model:\n  dropout: 0.1\n  dropout: 0.2\n", "line 3", "'dropout'"),
    "aliases": ("epochs: &a 3\nseed: *a\n", "line 2"),
    "a bomb of aliases": (BOMB, "line 2"),
    "an alias of itself": ("metric_loss_options: &a {b: *a}\n", "line 1"),
    "a merge": ("model: &m {dropout: 0.1}\nloss: {<<: *m}\n", "line 2"),
    "a tag of Python": ("data: !!python/object/apply:os.mkdir [made]\n", "line 1"),
    "a tag of Python's modules": ("data: !!python/module:os\n", "line 1"),
    "a tag of its own": ("data: !secret x\n", "line 1"),
    "a tag of bytes": ("data: !!binary aGk=\n", "line 1"),
    "two documents": ("epochs: 3\n---\nepochs: 4\n", "line 2"),
    "deep lists": ("metric_loss_options: " + "[" * 30_000, "deep"),
    "deep mappings": ("metric_loss_options: " + "{a: " * 10_000, "deep"),
    "deep blocks": ("metric_loss_options:\n  " + "- " * 10_000, "deep"),
    "a mapping that is not closed": ("model: {dropout: 0.1\n", "no YAML"),
    "a tab for spaces": ("model:\n\tdropout: 0.1\n", "line 2", "no YAML"),
    "a quote that is not closed": ('data: "t.csv\n', "no YAML"),
    "a zero byte": ("data: t\0.csv\n", "no YAML"),
    "an escaped zero byte": ('data: "t\\0.csv"\n', "data"),
    "an escaped lone surrogate": ('data: "\\ud800.csv"\n', ""),
    "UTF-16": ("epochs: 3\n".encode("utf-16"), "not UTF-8"),
    "Latin-1": ("data: é.csv\n".encode("latin-1"), "not UTF-8"),
    "a PNG": (ITEMS["0.png"], "not UTF-8"),
    "100,000 bytes": ("# " + "x" * 100_000, "64 KiB"),
    "a value out of range": ("optimizer: {lr: -1}\n", "--optimizer.lr is -1"),
    "a word for a number": ("epochs: many\n", "--epochs"),
    "a list for a number": ("epochs: [1]\n", "--epochs"),
    "a mapping for a number": ("epochs: {a: 1}\n", "epochs"),
    "null for a number": ("epochs: null\n", "--epochs"),
    "a number of 5,000 digits": ("seed: " + "9" * 5000 + "\n", "c.yaml"),
    "a date for a number": ("epochs: 2024-01-01\n", "--epochs"),
    "true for a number": ("batch_size: true\n", "batch_size"),
    "nothing to learn": ("alpha: 0\nbeta: 0\ngamma: 0\n", "alpha, beta and gamma"),
}
NAMED_BY_FLAG = (
    "a value out of range",
    "word for",
    "list for a number",
    "mapping for a number",
    "null for",
    "date for",
    "nothing to learn",
    "true for",
    "digits",
    "escaped",
)


def trained(flags: str, says: tuple[str, ...]) -> Case:
    parts = tuple(flags.split())
    given = parts if "--data" in parts else ("--data", "t.csv", *parts)
    return Case(f"a flag: {flags}", ("train", "--output", "out", *given), says, TABLE)


SETTINGS = [
    *(trained(flags.strip(), (flags.split()[0],)) for flags in OUT_OF_RANGE.replace("\n", "").split("|")),
    *(trained(flags, says) for flags, says in UNKNOWN.items()),
    *(
        Case(
            f"a flag of evaluate: {flags}",
            ("evaluate", "--output", "out", "--embeddings", "e.npy", "--labels", "l.npy", *flags.split()),
            says,
            FILES,
        )
        for flags, says in JUDGING.items()
    ),
    *(
        Case(
            f"a file of settings: {name}",
            ("train", "--data", "t.csv", "--output", "out", "--config", "c.yaml"),
            (*(() if any(each in name for each in NAMED_BY_FLAG) else ("c.yaml",)), *says),
            {**TABLE, "c.yaml": content},
        )
        for name, (content, *says) in NO_SETTINGS.items()
        if "escaped" not in name
    ),
    *(
        Case(
            f"a file of settings: {name}",
            ("train", "--output", "out", "--config", "c.yaml"),
            tuple(says),
            {**TABLE, "c.yaml": content},
        )
        for name, (content, *says) in NO_SETTINGS.items()
        if "escaped" in name
    ),
    Case(
        "a flag: options that are no mapping",
        ("train", "--data", "t.csv", "--metric_loss_options", "[1]"),
        ("metric_loss_options",),
        TABLE,
    ),
    Case(
        "a flag: a deep value",
        ("train", "--data", "t.csv", "--metric_loss_options", "[" * 30_000),
        ("metric_loss_options",),
        TABLE,
    ),
    Case(
        "a flag: a deep value of another", ("train", "--data", "t.csv", "--epochs", "{a: " * 9_000), ("epochs",), TABLE
    ),
    Case(
        "a flag: a tag of Python",
        ("train", "--data", "t.csv", "--epochs", "!!python/object/apply:os.mkdir [made]"),
        ("epochs",),
        TABLE,
    ),
    Case(
        "a flag: a bomb of aliases",
        ("train", "--data", "t.csv", "--metric_loss_options", "{" + BOMB.replace("\n", ", ") + "}"),
        ("metric_loss_options",),
        TABLE,
    ),
    Case("a flag: a zero byte in a path", ("train", "--data", "t\0.csv"), ("--data",), TABLE),
    Case("a flag: a zero byte in an output", ("train", "--data", "t.csv", "--output", "o\0"), ("--output",), TABLE),
    Case("a flag: bytes that are no text", ("train", "--data", "\udcff.csv"), (".csv",), TABLE),
    Case("a flag: an empty path", ("train", "--data", ""), ("--data",), TABLE),
    Case("a flag: an empty output", ("train", "--data", "t.csv", "--output", ""), ("--output",), TABLE),
    Case(
        "a flag: a path of 5,000 characters",
        ("train", "--output", "out", "--data", "a" * 5000 + ".csv"),
        ("too long",),
        TABLE,
    ),
    Case(
        "a flag: an unknown metric loss",
        ("train", "--data", "t.csv", "--output", "out", "--model.pretrained", "false", "--metric_loss", "arcfase"),
        ("arcfase", "arcface"),
        TABLE,
    ),
    Case(
        "a flag: an unknown option of a loss",
        (
            "train",
            "--data",
            "t.csv",
            "--output",
            "out",
            "--model.pretrained",
            "false",
            "--metric_loss",
            "arcface",
            "--metric_loss_options",
            "{scales: 3}",
        ),
        ("scales",),
        TABLE,
    ),
    Case(
        "a flag: an unknown backbone",
        ("train", "--data", "t.csv", "--output", "out", "--model.pretrained", "false", "--model.backbone", "resnet1"),
        ("resnet1",),
        TABLE,
    ),
    Case(
        "a flag: an unknown decoder",
        ("train", "--data", "t.csv", "--output", "out", "--model.pretrained", "false", "--model.decoder", "unett"),
        ("unett",),
        TABLE,
    ),
    Case(
        "a flag: weights that are not there",
        ("train", "--data", "t.csv", "--output", "out", "--model.weights", "w.pt"),
        ("w.pt",),
        TABLE,
    ),
    Case(
        "a flag: weights that are words",
        ("train", "--data", "t.csv", "--output", "out", "--model.weights", "w.pt"),
        ("w.pt",),
        {**TABLE, "w.pt": "w"},
    ),
    Case(
        "a flag: weights that are a pickle",
        ("train", "--data", "t.csv", "--output", "out", "--model.weights", "w.pt"),
        ("w.pt",),
        {**TABLE, "w.pt": b"cos\nmkdir\n(S'made'\ntR."},
    ),
    Case(
        "a flag: weights that are damaged",
        ("train", "--data", "t.csv", "--output", "out", "--model.weights", "w.safetensors"),
        ("w.safetensors",),
        {**TABLE, "w.safetensors": b"\xff" * 64},
    ),
    Case("a file of settings: no such file", ("train", "--config", "c.yaml"), ("c.yaml", "does not exist"), TABLE),
    Case("a file of settings: a folder", ("train", "--config", "c.yaml"), ("c.yaml", "folder"), {"c.yaml/a": ""}),
    Case(
        "a file of settings: of evaluate, given to train",
        ("train", "--config", "c.yaml"),
        ("c.yaml", "resamples"),
        {**TABLE, "c.yaml": "resamples: 30\n"},
    ),
    Case("settings: no command", ("trian",), ("'trian'", "train"), {}),
    Case("settings: nothing to evaluate", ("evaluate",), ("RUN", "--embeddings"), {}),
    Case(
        "settings: several options of another kind",
        ("evaluate", "--scores", "s.csv", "--level", "0.9", "--resamples", "30", "--metric", "euclidean"),
        ("--level", "--resamples", "--metric"),
        {"s.csv": "score,match\n1,1\n0,0\n"},
    ),
    Case("settings: two things to evaluate", ("evaluate", "RUN", "--scores", "s.csv"), ("name one thing",), {}),
    Case("settings: embeddings alone", ("evaluate", "--embeddings", "e.npy"), ("--labels", "--pairs"), FILES),
    Case("settings: a named data set that is none", ("train", "--data", "digitz"), ("digitz", "digits"), {}),
    Case("settings: verify without images", ("verify", "RUN"), ("first",), {}),
    Case(
        "settings: a false-positive rate without a threshold",
        ("verify", "RUN", "0.png", "1.png", "--fpr", "1e-9"),
        ("1e-09", "0.05"),
        ITEMS,
    ),
]
