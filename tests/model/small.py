"""A small network and random images for it."""

import torch

from triune.model.network import MultiTaskModel

SMALL = {"backbone": "test_resnet", "pretrained": False, "decoder_channels": (16, 16, 8, 8, 8)}


def small(**changes):
    torch.manual_seed(0)
    return MultiTaskModel(**{**SMALL, "num_classes": 5, "mask_channels": 1, "embedding_dim": 16, **changes})


def images(count=2, size=(64, 64), channels=3):
    return torch.randn(count, channels, *size, generator=torch.Generator().manual_seed(1))
