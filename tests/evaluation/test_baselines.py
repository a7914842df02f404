"""What there is without training, computed again with NumPy."""

import numpy as np
import polars as pl
import torch
from PIL import Image

from triune.data.dataset import Batch, ItemDataset
from triune.data.transform import eval_transform
from triune.evaluation.baselines import PIXEL_SIDE, backbone_embeddings, pixel_embeddings
from triune.model.network import MultiTaskModel


def test_pixels_are_shrunk_to_32_by_32_centred_by_image_and_of_unit_length(tmp_path):
    g = np.random.default_rng(0)
    images = (g.integers(0, 100, (3, 64, 64, 3)) + np.array([0, 60, 150])[:, None, None, None]).astype(np.uint8)
    names = [str(tmp_path / f"{i}.png") for i in range(3)]
    for name, image in zip(names, images):
        Image.fromarray(image).save(name)
    dataset = ItemDataset(
        pl.DataFrame({"image": names}), channels=3, classes=[], identities=[], transform=eval_transform(64)
    )
    found = pixel_embeddings(dataset)
    small = images.astype(np.float64).reshape(3, 32, 2, 32, 2, 3).mean(axis=(2, 4)).transpose(0, 3, 1, 2).reshape(3, -1)
    centred = small - small.mean(axis=1, keepdims=True)
    expected = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    assert found.shape == (3, 3 * PIXEL_SIDE**2)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    # Uncentred they would be alike by their brightness: far from what is asked.
    bright = small / np.linalg.norm(small, axis=1, keepdims=True)
    assert abs(expected @ expected.T - bright @ bright.T).max() > 0.5


def test_the_backbone_s_embedding_is_the_mean_of_its_deepest_features_at_unit_length():
    torch.manual_seed(0)
    model = MultiTaskModel("resnet10t", num_classes=0, mask_channels=0, embedding_dim=8, pretrained=False)
    images = torch.randn(5, 3, 32, 32)
    parts = [images[:3], images[3:]]
    none = torch.full((3,), -1)
    batches = [Batch(x, none[: len(x)], none[: len(x)], none, torch.arange(len(x))) for x in parts]
    found = backbone_embeddings(model.train(), batches)
    with torch.inference_mode():
        deepest = model.eval().features(images)[-1].double().numpy()
    rows = deepest.mean(axis=(2, 3))
    np.testing.assert_allclose(found, rows / np.linalg.norm(rows, axis=1, keepdims=True), atol=1e-5)
