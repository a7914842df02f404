"""What `triune audit` finds of mistakes planted in ETH-80: 2 % wrong labels, and copies of 1 % of the pictures.

    python benchmarks/audit.py --data FOLDER --embeddings NAME=e.npy ...   # FOLDER/eth80; rows as in its table

Embeddings of pixels are always judged; those of networks come from `triune embed`. Rankings of wrong labels are
compared with two others: the votes of ten neighbours, and confident learning (Northcutt, Jiang & Chuang 2021), whose
classifier is logistic regression on 64 principal components, fitted on other folds.
"""

import argparse
import csv
import io
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

sys.path.insert(0, str(Path(__file__).resolve().parent))

from machine import described

from triune.recognition.label_errors import likely_label_errors
from triune.retrieval.neighbours import top_k
from triune.serving.audit.look import audit
from triune.serving.audit.sources import AuditItems

BINS = (0.05, 0.2, 0.5, 0.8, 0.95)


def plant(names, share, generator):
    """Labels of which a share is wrong, uniformly among the others, and which are."""
    classes, codes = np.unique(names, return_inverse=True)
    wrong = np.zeros(len(codes), dtype=bool)
    wrong[generator.choice(len(codes), round(share * len(codes)), replace=False)] = True
    moved = (codes + generator.integers(1, len(classes), len(codes))) % len(classes)
    return np.where(wrong, moved, codes), wrong


def by_votes(x, y, k=10):
    """The share of the k nearest that have the best other label, minus that of one's own."""
    _, near = top_k(x, x, k, exclude_self=True)
    votes = np.zeros((len(y), y.max() + 1))
    for column in y[near.numpy()].T:
        votes[np.arange(len(y)), column] += 1 / k
    return _margin(votes, y)


def by_confident_learning(x, y):
    """The normalised margin of out-of-fold probabilities, each less the mean self-confidence of its class."""
    small = PCA(64, random_state=0).fit_transform(x / np.linalg.norm(x, axis=1, keepdims=True)) * 10
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    shares = cross_val_predict(LogisticRegression(max_iter=300), small, y, cv=folds, method="predict_proba")
    own = shares[np.arange(len(y)), y]
    level = np.array([own[y == c].mean() for c in range(shares.shape[1])])
    return _margin(shares - level, y)


def _margin(values, y):
    place = np.arange(len(y))
    own = values[place, y]
    others = values.copy()
    others[place, y] = -np.inf
    return others.max(axis=1) - own


def wrong_labels(title, x, names, seeds):
    """A row of the table, and the probabilities with what was true of them."""
    found = []
    probabilities, truths = [], []
    for seed in range(seeds):
        y, wrong = plant(names, 0.02, np.random.default_rng(seed))
        start = time.perf_counter()
        told = likely_label_errors(x, y)
        seconds = time.perf_counter() - start
        named = told.probability >= 0.5
        rankings = [average_precision_score(wrong, each) for each in (told.margin, by_votes(x, y))]
        rankings.append(average_precision_score(wrong, by_confident_learning(x, y)))
        found.append(
            (*rankings, (named & wrong).sum() / max(1, named.sum()), (named & wrong).sum() / wrong.sum(), seconds)
        )
        probabilities.append(told.probability)
        truths.append(wrong)
    clean = likely_label_errors(x, np.unique(names, return_inverse=True)[1])
    ours, votes, confident, precision, recall, seconds = np.mean(found, axis=0)
    print(
        f"| {title} | {ours:.3f} | {votes:.3f} | {confident:.3f} | {precision:.2f} | {recall:.2f} | "
        f"{(clean.probability >= 0.5).sum()} | {seconds:.1f} |",
        flush=True,
    )
    return np.concatenate(probabilities), np.concatenate(truths)


def stored(picture, kind):
    """A copy of a picture as a file's bytes."""
    buffer = io.BytesIO()
    if kind == "JPEG of quality 60":
        picture.save(buffer, "JPEG", quality=60)
    elif kind == "three quarters of the size":
        picture.resize((picture.width * 3 // 4, picture.height * 3 // 4)).save(buffer, "JPEG", quality=85)
    elif kind == "7 % brighter":
        ImageEnhance.Brightness(picture).enhance(1.07).save(buffer, "JPEG", quality=90)
    elif kind == "PNG":
        picture.save(buffer, "PNG")
    else:
        edge = round(0.025 * picture.width)
        picture.crop((edge, edge, picture.width - edge, picture.height - edge)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def copies(paths, kind, seed):
    """Precision and recall of the copies of 1 % of the pictures."""
    generator = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        names, planted = list(paths), set()
        for row in generator.choice(len(paths), round(0.01 * len(paths)), replace=False).tolist():
            place = Path(folder) / f"{row}.img"
            own = Path(paths[row])
            place.write_bytes(own.read_bytes() if kind == "the same bytes" else stored(Image.open(own), kind))
            planted.add((row, len(names)))
            names.append(str(place))
        found = audit(
            AuditItems("copies", pixels(names), names, [None] * len(names), [None] * len(names), has_images=True)
        )
        pairs = {(pair.first.row, pair.second.row) for pair in found.duplicates}
    return len(pairs & planted) / max(1, len(pairs)), len(pairs & planted) / len(planted)


def pixels(paths):
    """Centred 24 × 24 pixels, ``(N, 1728)``."""
    small = [np.asarray(Image.open(path).convert("RGB").resize((24, 24))) for path in paths]
    x = np.stack(small).reshape(len(paths), -1).astype(np.float32)
    return x - x.mean(axis=1, keepdims=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--embeddings", nargs="*", default=[], metavar="NAME=e.npy")
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    with (asked.data / "eth80" / "items.csv").open() as file:
        rows = list(csv.DictReader(file))
    paths = [str(asked.data / "eth80" / row["image"]) for row in rows]
    print(described(["triune", "torch", "numpy", "scikit-learn", "pillow"]) + "\n\n## Wrong labels\n")
    print("| embeddings, labels | AP: margin | AP: votes | AP: confident | precision | recall | named of none | s |")
    print("|---|---|---|---|---|---|---|---|")
    sets = [("pixels", pixels(paths))]
    sets += [(name, np.load(path)) for name, _, path in (each.partition("=") for each in asked.embeddings)]
    probabilities, truths = [], []
    for title, x in sets:
        for column in ("identity", "label"):
            names = np.array([row[column] for row in rows])
            both = wrong_labels(
                f"{title}, {len(set(names))} {'objects' if column == 'identity' else 'classes'}", x, names, asked.seeds
            )
            probabilities.append(both[0])
            truths.append(both[1])
    p, wrong = np.concatenate(probabilities), np.concatenate(truths)
    print("\n| probability | items | mean | wrong |\n|---|---|---|---|")
    for low, high in zip((0, *BINS), (*BINS, 1.01)):
        inside = (p >= low) & (p < high)
        print(f"| {low:g} to {min(high, 1):g} | {inside.sum()} | {p[inside].mean():.3f} | {wrong[inside].mean():.3f} |")
    print("\n## Copies\n\n| copied | precision | recall |\n|---|---|---|")
    for kind in (
        "the same bytes",
        "PNG",
        "JPEG of quality 60",
        "three quarters of the size",
        "7 % brighter",
        "5 % cropped",
    ):
        precision, recall = np.mean([copies(paths, kind, seed) for seed in range(asked.seeds)], axis=0)
        print(f"| {kind} | {precision:.2f} | {recall:.2f} |", flush=True)


if __name__ == "__main__":
    main()
