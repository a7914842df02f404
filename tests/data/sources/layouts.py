"""Published data sets in miniature: the files and folders that their authors publish, with tiny images."""

import tarfile
import zipfile

import numpy as np
from PIL import Image
from scipy.io import savemat

from made_items import picture

BIRDS = {1: "001.Black_footed_Albatross", 2: "002.Laysan_Albatross", 50: "050.Eared_Grebe", 51: "051.Horned_Grebe"}
BIRDS |= {100: "100.Brown_Pelican", 101: "101.White_Pelican", 150: "150.Sage_Thrasher", 200: "200.Common_Yellowthroat"}


def cub200(root, images=3, masks=False):
    """Some images of eight species, in the order of the published list, and boxes ``x y width height``."""
    base = root / "CUB_200_2011"
    lines = {name: [] for name in ("images", "image_class_labels", "bounding_boxes", "train_test_split")}
    number = 0
    for species, name in BIRDS.items():
        for _ in range(images):
            number += 1
            path = f"{name}/{name[4:]}_{number:04d}_{number}.jpg"
            picture(base / "images" / path, number, (20, 16))
            lines["images"].append(f"{number} {path}")
            lines["image_class_labels"].append(f"{number} {species}")
            lines["bounding_boxes"].append(f"{number} 2.0 3.0 10.0 {number % 4 + 5}.0")
            lines["train_test_split"].append(f"{number} {number % 2}")
            if masks:
                votes = np.resize(np.array([0, 51, 102, 153, 204, 255], np.uint8), (20, 16))
                place = root / "segmentations" / path.replace(".jpg", ".png")
                place.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(votes).save(place)
    for name, content in lines.items():
        (base / f"{name}.txt").write_text("".join(f"{line}\n" for line in content))
    (base / "classes.txt").write_text("".join(f"{species} {name}\n" for species, name in BIRDS.items()))
    return base


CARS = ["" for _ in range(196)]
CARS[0], CARS[97], CARS[98], CARS[195] = (
    "AM General Hummer SUV 2000",
    "Ferrari FF",
    "Ferrari California",
    "smart fortwo",
)
CARS = [name or f"car {place + 1}" for place, name in enumerate(CARS)]
DRIVEN = (1, 98, 99, 196)


def _annotations(rows, field):
    kinds = [("bbox_x1", "O"), ("bbox_y1", "O"), ("bbox_x2", "O"), ("bbox_y2", "O"), ("class", "O"), (field, "O")]
    made = np.empty((1, len(rows)), dtype=kinds)
    for place, (box, of_class, name) in enumerate(rows):
        made[0, place] = (*map(float, box), float(of_class), name)
    return made


def cars196(root, images=2):
    """``cars_annos.mat`` and ``car_ims``: images of four classes, numbered through."""
    rows = []
    for of_class in DRIVEN:
        for _ in range(images):
            name = f"car_ims/{len(rows) + 1:06d}.jpg"
            picture(root / name, len(rows))
            rows.append(((2, 1, 8, 7), of_class, name))
    made = {"annotations": _annotations(rows, "relative_im_path"), "class_names": np.array([CARS], dtype=object)}
    savemat(root / "cars_annos.mat", made)
    return root


def cars196_devkit(root, images=2):
    """The development kit with the two folders of the classification task: each class in both."""
    (root / "devkit").mkdir(parents=True)
    for part in ("train", "test"):
        rows = []
        for of_class in DRIVEN:
            for _ in range(images):
                name = f"{len(rows) + 1:05d}.jpg"
                picture(root / f"cars_{part}" / name, len(rows))
                rows.append(((2, 1, 8, 7), of_class, name))
        end = "_withlabels" if part == "test" else ""
        savemat(root / "devkit" / f"cars_{part}_annos{end}.mat", {"annotations": _annotations(rows, "fname")})
    savemat(root / "devkit" / "cars_meta.mat", {"class_names": np.array([CARS], dtype=object)})
    return root


def sop(root, products=4, images=2):
    """``Ebay_train.txt`` and ``Ebay_test.txt`` with as many products each, of two kinds."""
    base = root / "Stanford_Online_Products"
    number = 0
    for part, first in (("train", 1), ("test", products + 1)):
        lines = ["image_id class_id super_class_id path"]
        for product in range(first, first + products):
            kind = ("bicycle_final", "coffee_maker_final")[product % 2]
            for view in range(images):
                number += 1
                path = f"{kind}/{100000 + product}_{view}.JPG"
                picture((base / path).with_suffix(".png"), number)
                (base / path).with_suffix(".png").rename(base / path)
                lines.append(f"{number} {product} {1 + product % 2} {path}")
        (base / f"Ebay_{part}.txt").write_text("\n".join(lines) + "\n")
    return base


def inshop(root, garments=4, where="Eval"):
    """Queries and gallery of as many garments as there are to train on, two pictures of each for each."""
    base = root / "In-shop Clothes Retrieval Benchmark"
    lines = []
    for garment in range(1, 2 * garments + 1):
        statuses = ("train", "train") if garment <= garments else ("query", "gallery", "gallery")
        for view, status in enumerate(statuses):
            path = f"img/WOMEN/Dresses/id_{garment:08d}/{view + 1:02d}_1_front.jpg"
            picture(base / "Img" / path, 10 * garment + view)
            lines.append(f"{path}     id_{garment:08d} {status}")
    (base / where).mkdir(exist_ok=True)
    header = f"{len(lines)}\nimage_name item_id evaluation_status\n"
    (base / where / "list_eval_partition.txt").write_text(header + "\n".join(lines) + "\n")
    return base


def market1501(root, people=4):
    """Train and test of as many persons, each by two cameras; junk, distractors, and what else lies there."""
    base = root / "Market-1501-v15.09.15"
    number = 0

    def shot(part, person, camera):
        nonlocal number
        number += 1
        picture(base / part / f"{person}_c{camera}s1_{number:06d}_00.jpg", number)

    for person in range(people):
        for camera in (1, 1, 2):
            shot("bounding_box_train", f"{2 * person + 2:04d}", camera)
            shot("bounding_box_test", f"{2 * person + 1:04d}", camera)
        shot("query", f"{2 * person + 1:04d}", 1)
    shot("bounding_box_test", "-1", 3)
    shot("bounding_box_test", "0000", 3)
    shot("bounding_box_test", "0000", 4)
    (base / "bounding_box_test" / "Thumbs.db").write_bytes(b"\0")
    (base / "readme.txt").write_text("Market-1501")
    return base


def vggface(root, people=4, images=2):
    """``train``, ``val`` and ``test``, a folder a person."""
    for place, part in enumerate(("train", "val", "test")):
        for person in range(people):
            for view in range(images):
                picture(root / part / f"n{1000 * place + person:06d}" / f"{view + 1:04d}_01.jpg", 100 * place + view)
    return root


def lfw(root, folds=2):
    """People with two pictures each in ``lfw_funneled``, and ``pairs.txt`` of some folds of two and two pairs."""
    lines = [f"{folds}\t2"]
    for fold in range(folds):
        names = [f"Person_{letter}{fold}" for letter in "ABCD"]
        for seed, name in enumerate(names):
            for view in (1, 2):
                picture(root / "lfw_funneled" / name / f"{name}_{view:04d}.jpg", 8 * fold + 2 * seed + view)
        lines += [f"{name}\t1\t2" for name in names[:2]]
        lines += [f"{names[0]}\t1\t{names[1]}\t2", f"{names[2]}\t1\t{names[3]}\t1"]
    (root / "pairs.txt").write_text("\n".join(lines) + "\n")
    return root


def as_tar(folder, archive):
    """A folder as the only thing in a compressed archive."""
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(folder, arcname=folder.name)
    return archive


def as_zip(folder, archive):
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                packed.write(path, f"{folder.name}/{path.relative_to(folder)}")
    return archive
