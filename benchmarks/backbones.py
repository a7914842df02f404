"""Families of backbones: which of them give classes, masks and embeddings, how large they are, how fast here.

python benchmarks/backbones.py                 # random weights; about 10 minutes
python benchmarks/backbones.py --device cuda   # on a GPU
python benchmarks/backbones.py --write PATH    # also write the table to a Markdown file
"""

from __future__ import annotations

import argparse
import gc
import time
from pathlib import Path
from statistics import median

import torch
from machine import described

from triune.errors import InputError
from triune.model.network import MultiTaskModel
from triune.model.plain import is_plain

FAMILIES = {
    "ResNet": "resnet18", "RegNet": "regnetx_002", "NFNet": "dm_nfnet_f0", "ConvNeXt": "convnext_atto",
    "EfficientNet": "tf_efficientnet_lite0", "MobileNetV4": "mobilenetv4_conv_small", "FastViT": "fastvit_t8",
    "EfficientViT": "efficientvit_b0", "MobileViT": "mobilevit_s", "TinyViT": "tiny_vit_5m_224", "DaViT": "davit_tiny",
    "MViTv2": "mvitv2_tiny", "PVTv2": "pvt_v2_b0", "MambaOut": "mambaout_femto", "Swin": "swin_tiny_patch4_window7_224",
    "MaxViT": "maxvit_tiny_rw_224", "ViT": "vit_tiny_patch16_224", "DeiT": "deit_tiny_patch16_224",
    "DINOv2": "vit_small_patch14_dinov2", "DINOv2, registers": "vit_small_patch14_reg4_dinov2",
    "DINOv3": "vit_small_patch16_dinov3", "CLIP": "vit_base_patch32_clip_224", "SigLIP": "vit_base_patch16_siglip_224",
    "EVA-02": "eva02_tiny_patch14_224", "BEiT": "beit_base_patch16_224", "XCiT": "xcit_nano_12_p16_224",
    "PiT": "pit_ti_224", "LeViT": "levit_128s", "Hiera": "hiera_tiny_224", "MLP-Mixer": "mixer_s32_224",
}  # fmt: skip
SIDE, BATCH = 96, 16


def answered(name: str, masks: int, device: str) -> MultiTaskModel | str:
    """The network, once it has answered; or why it cannot."""
    try:
        model = MultiTaskModel(name, num_classes=3, mask_channels=masks, embedding_dim=64, pretrained=False)
        model = model.eval().to(device)
        with torch.inference_mode():
            answer = model(torch.randn(2, 3, SIDE, SIDE + 10, device=device))
    except (InputError, RuntimeError, AssertionError, IndexError, ValueError, TypeError) as error:
        return str(error).splitlines()[0][:60]
    assert answer.mask_logits is None or answer.mask_logits.shape == (2, masks, SIDE, SIDE + 10)
    return model


def images_a_second(model: MultiTaskModel) -> float:
    """Embeddings of a batch, the median of five."""
    batch, seconds = torch.randn(BATCH, 3, SIDE, SIDE, device=next(model.parameters()).device), []
    with torch.inference_mode():
        for _ in range(6):
            start = time.perf_counter()
            model.embed(batch)
            if batch.is_cuda:
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
    return BATCH / median(seconds[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--write", type=Path, help="Markdown file for the table")
    options = parser.parse_args()
    lines = ["# Families of backbones", "", described(("torch", "timm", "segmentation-models-pytorch")), ""]
    where = "the processor" if options.device == "cpu" else f"one {torch.cuda.get_device_name()}"
    lines += [f"Random weights, images of {SIDE} x {SIDE}, embeddings of batches of {BATCH}, on {where}.", ""]
    lines += [
        "| family | tried | kind | embedding, classes | masks | parameters | images/s |",
        "|---|---|---|---|---|---|---|",
    ]
    for family, name in FAMILIES.items():
        plain, masks = answered(name, 0, options.device), answered(name, 2, options.device)
        said = ["yes" if isinstance(each, MultiTaskModel) else f"no: {each}" for each in (plain, masks)]
        size = speed = ""
        if isinstance(plain, MultiTaskModel):
            size = f"{sum(each.numel() for each in plain.backbone.parameters()) / 1e6:.1f} M"
            speed = f"{images_a_second(plain):,.0f}"
        kind = "plain" if is_plain(name) else "pyramid"
        lines.append(f"| {family} | {name} | {kind} | {said[0]} | {said[1]} | {size} | {speed} |")
        print(lines[-1], flush=True)
        del plain, masks
        gc.collect()
    if options.write is not None:
        options.write.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
