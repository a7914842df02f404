"""Sample masks: in the image's own size, as it is seen upright, and 255 where the network did not look."""

import numpy as np
import polars
import pytest
import torch
from PIL import Image

from triune.data.dataset import ItemDataset
from triune.data.preprocessing import Preprocessing
from triune.data.transform import eval_transform
from triune.evaluation.sample_masks import write_sample_masks
from triune.model.network import MultiTaskModel


def test_a_sample_mask_of_a_turned_image_has_the_size_in_which_it_is_seen(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (24, 16)).save(tmp_path / "turned.jpg", exif=exif)
    Image.new("L", (16, 24)).save(tmp_path / "mask.png")
    frame = polars.DataFrame(
        {"row": [2], "image": [str(tmp_path / "turned.jpg")], "mask": [str(tmp_path / "mask.png")]}
    )
    data = ItemDataset(frame, channels=3, classes=[], identities=[], transform=eval_transform(32))
    model = MultiTaskModel("resnet10t", num_classes=0, mask_channels=1, embedding_dim=0, pretrained=False,
                           decoder_channels=(16, 8, 8, 8, 8)).eval()  # fmt: skip
    write_sample_masks(tmp_path / "masks", model, data, torch.device("cpu"))
    assert Image.open(tmp_path / "masks" / "2.png").size == (16, 24)


@pytest.mark.parametrize("fit", ["squash", "pad", "crop"])
def test_a_sample_mask_of_an_item_with_a_box_knows_the_box_alone(tmp_path, fit):
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    Image.new("L", (40, 30)).save(tmp_path / "mask.png")
    box = {"x_1": [4], "y_1": [6], "x_2": [24], "y_2": [26]}
    frame = polars.DataFrame(
        {"row": [2], "image": [str(tmp_path / "a.png")], "mask": [str(tmp_path / "mask.png")], **box}
    )
    seen = eval_transform(Preprocessing((32, 32), fit))
    data = ItemDataset(frame, channels=3, classes=[], identities=[], transform=seen)
    model = MultiTaskModel("resnet10t", num_classes=0, mask_channels=1, embedding_dim=0, pretrained=False,
                           decoder_channels=(16, 8, 8, 8, 8)).eval()  # fmt: skip
    write_sample_masks(tmp_path / "masks", model, data, torch.device("cpu"))
    ids = np.asarray(Image.open(tmp_path / "masks" / "2.png"))
    known = np.zeros((30, 40), bool)
    known[6:26, 4:24] = True
    assert ((ids == 255) == ~known).all()
