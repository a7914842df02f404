"""The network: a timm backbone, an smp decoder, and three heads (class logits, mask logits, unit embedding)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, interpolate, linear

from triune.arrays import at_least_single
from triune.distances.embeddings import unit
from triune.errors import InputError
from triune.model.backbone import build_segmenter, check_drop_path, fetch_weights, padded
from triune.model.heads import (
    GRID,
    TOKEN_POOLING,
    AttentionPooling,
    Pooling,
    average,
    foreground_average,
    generalised_mean,
    grid_averages,
)
from triune.model.other_pyramids import OtherPyramid, SummedMaps, takes_no_decoder
from triune.model.plain import (
    DenseHead,
    Maps,
    PlainTransformer,
    Pooled,
    in_own_size,
    is_plain,
    own_size,
    pooled,
)
from triune.model.weights import Fit, load_weights

LEAST_CELLS = 4
"""Of a side of the map that an embedding is read from, where there is a choice."""


class Prediction(NamedTuple):
    """What the network says of B images; a head that is left out gives ``None``.

    Args:
        class_logits: ``(B, C)``.
        mask_logits: ``(B, M, H, W)``, as large as the images.
        embedding: ``(B, D)`` float32, of unit length.
    """

    class_logits: Tensor | None
    mask_logits: Tensor | None
    embedding: Tensor | None


class Features(NamedTuple):
    """The vectors that two of the heads read of B images; ``None`` where there is no such head.

    Args:
        deepest: ``(B, C)``, for the class head.
        pooled: ``(B, F)``, for the embedding head.
    """

    deepest: Tensor | None
    pooled: Tensor | None


class MultiTaskModel(nn.Module):
    r"""One backbone, three answers.

    The backbone turns an image into feature maps that get coarser and richer stage by stage. The deepest map says
    *what* is there: its average feeds the class head. The decoder walks back up, and at every step joins the map of
    the same size that the backbone made on its way down (a skip connection), so that the mask knows *where* to the
    pixel. The embedding is read from any stage, pooled to a vector, projected to D numbers and scaled to unit
    length: images of one identity shall lie close together on that sphere. What one head learns shapes the features
    that all of them share::

        image ─ stage 1 ─ stage 2 ─ stage 3 ─ stage 4 ─ stage 5 ─┬─ pool ─ linear ─→ class logits
                  │         │         │         │         │      └─ pool ─ linear ─ ‖·‖ ─→ embedding
                  └─────────┴────┬────┴─────────┴─────────┘         (from the stage you name)
                              decoder ─→ mask logits

    Args:
        backbone: any timm model that gives feature maps: a pyramid (convolutional networks, Swin and other hierarchical
            transformers) or a plain transformer (ViT, DeiT, DINO, CLIP, SigLIP, EVA), whose masks come from DPT
            whatever the decoder. A pyramid that no decoder takes (PiT, LeViT) has masks from the sum of its maps.
        num_classes: outputs C of the class head; 0 for no such head.
        mask_channels: outputs M of the mask head; 0 for no such head and no decoder.
        embedding_dim: length D of the embedding; 0 for no such head.
        pretrained: start from timm's published weights.
        weights: start the backbone from this local file instead, of whatever training, or from a run folder; see
            :func:`~triune.model.weights.load_weights`. What fitted is kept as ``loaded``.
        in_channels: 3 for RGB, 1 for grey.
        decoder: any architecture of segmentation-models-pytorch (Ronneberger et al. 2015 for ``unet``).
        decoder_channels: width of each decoder stage, deepest first; only decoders built of such stages use it.
        embedding_stage: which feature map the embedding is read from; -1 the deepest, -2 the one before, …; a plain
            transformer has those of four blocks, evenly over its depth.
        pooling: ``avg`` averages the map; ``gem`` takes the generalised mean with a learnt exponent (Radenović et al.
            2018); ``grid`` averages within 4 x 4 cells and keeps all of them: for aligned images such as faces and
            characters, where it matters what is where; ``attention`` lets a learnt query choose where to look (Zhai et
            al. 2023, SigLIP); ``token`` takes the class token of a plain transformer, ``token+avg`` that and the
            average, one after another.
        mask_pooling: weigh the pooled map by the predicted foreground probability, so that the background does not
            reach the embedding; needs a mask head and ``avg`` pooling.
        dropout: before the class head.
        drop_path: rate of stochastic depth while training: whole blocks of the backbone are left out at random, the
            last one at this rate, earlier ones less often (Huang et al. 2016).

    Raises:
        InputError: an unknown backbone or decoder, heads that do not fit together, weights that cannot be had.
    """

    def __init__(
        self,
        backbone: str = "resnet18",
        num_classes: int = 37,
        mask_channels: int = 1,
        embedding_dim: int = 128,
        pretrained: bool = True,
        *,
        weights: str | Path | None = None,
        in_channels: int = 3,
        decoder: str = "unet",
        decoder_channels: Sequence[int] = (128, 64, 32, 16, 16),
        embedding_stage: int = -1,
        pooling: Pooling = "avg",
        mask_pooling: bool = False,
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        if not (num_classes or mask_channels or embedding_dim):
            raise InputError("every head is left out: give num_classes, mask_channels or embedding_dim")
        if mask_pooling and (not mask_channels or pooling != "avg"):
            raise InputError("mask_pooling needs a mask head (mask_channels > 0) and pooling 'avg'")
        self.num_classes, self.mask_channels, self.embedding_dim = num_classes, mask_channels, embedding_dim
        self.embedding_stage, self.pooling, self.mask_pooling = embedding_stage, pooling, mask_pooling
        self.dropout = dropout
        self.name, self.in_channels = backbone, in_channels

        self.fixed: tuple[int, int] | None = None
        self.plain = is_plain(backbone)
        check_drop_path(backbone, drop_path)
        self.decoder: Any = None
        self.mask_head: Any = None
        if self.plain:
            self.backbone: Any = PlainTransformer(backbone, in_channels, drop_path)
            self.mask_head = DenseHead(self.backbone, mask_channels) if mask_channels else None
        else:
            self._build_pyramid(backbone, decoder, in_channels, decoder_channels, drop_path)
        if pooling in TOKEN_POOLING and not getattr(self.backbone, "has_class_token", False):
            raise InputError(
                f"pooling {pooling!r} needs a class token, and {backbone} has none: 'avg' takes the average"
            )
        # The coarsest of DPT's maps has half the resolution of the transformer's own.
        self.stride = int(self.backbone.output_stride) * (2 if self.plain and mask_channels else 1)
        widths = self._widths
        if not -len(widths) <= embedding_stage < 0:
            raise InputError(f"embedding_stage is {embedding_stage}: {backbone} has the stages -1 to -{len(widths)}")
        self.class_head = nn.Linear(widths[-1], num_classes) if num_classes else None
        cells = {"grid": GRID * GRID, "token+avg": 2}.get(pooling, 1)
        self.embedding_head = nn.Linear(widths[embedding_stage] * cells, embedding_dim) if embedding_dim else None
        self.exponent = nn.Parameter(torch.tensor(3.0)) if embedding_dim and pooling == "gem" else None
        self.attention = AttentionPooling(widths[embedding_stage]) if embedding_dim and pooling == "attention" else None
        self.recomputes = False
        self.loaded: Fit | None = None
        if weights is not None:
            self.loaded = load_weights(self.backbone.model, Path(weights), backbone)
        elif pretrained:
            fetch_weights(
                self.backbone.model, backbone, in_channels, plain=isinstance(self.backbone, PlainTransformer | Pooled)
            )

    def _build_pyramid(
        self, backbone: str, decoder: str, in_channels: int, decoder_channels: Sequence[int], drop_path: float
    ) -> None:
        """A backbone of a pyramid of maps, with a decoder; without a mask head whatever timm has."""
        masks = max(1, self.mask_channels)
        try:
            network: Any = build_segmenter(backbone, decoder, in_channels, masks, decoder_channels, drop_path)
        except InputError:
            if decoder not in smp.MODEL_ARCHITECTURES_MAPPING:
                raise
            if not self.mask_channels:
                self.backbone = pooled(backbone, in_channels, drop_path)
                return
            # Asked last: the question makes a network, with memory and random numbers of its own.
            if not takes_no_decoder(backbone):
                raise
            self.backbone = OtherPyramid(backbone, in_channels, drop_path)
            self.fixed = self.backbone.fixed
            self.mask_head = SummedMaps(self.backbone.out_channels[1:], self.mask_channels)
            return
        self.backbone = network.encoder
        self.fixed = own_size(self.backbone.model)
        if self.mask_channels:
            self.decoder, self.mask_head = network.decoder, network.segmentation_head

    @property
    def _widths(self) -> list[int]:
        """Channels of the feature maps that have any, finest first."""
        return [width for width in self.backbone.out_channels[1:] if width]

    def suited_stage(self, size: tuple[int, int]) -> int:
        """The stage that an embedding of images of a size is best read from.

        It is the deepest one, or in a pyramid the one before it, where the deepest map has fewer than 4 x 4 cells: of
        images of 64 pixels, 2 x 2. What tells classes apart is still in these, what tells new identities apart is not.

        Args:
            size: height and width of the images.
        """
        coarse = min(self.fixed or size) < LEAST_CELLS * self.backbone.output_stride
        return -2 if coarse and not self.plain and len(self._widths) > 1 else -1

    def forward(self, images: Tensor) -> Prediction:
        """All heads: ``images (B, C, H, W)``, normalised, of any size."""
        return self.answer(images)

    def embed(self, images: Tensor) -> Tensor:
        """The embedding alone, ``(B, D)``; the decoder runs only where the embedding needs the mask."""
        embedding = self.answer(images, classes=False, masks=False).embedding
        if embedding is None:
            raise InputError("this model has no embedding head (embedding_dim is 0)")
        return embedding

    def features(self, images: Tensor) -> list[Tensor]:
        """The backbone's feature maps, finest first."""
        return self.maps(images).features

    def shared_parameters(self) -> list[nn.Parameter]:
        """The backbone's parameters: those that every head's loss reaches."""
        return list(self.backbone.parameters())

    def maps(self, images: Tensor) -> Maps:
        """What the backbone makes of ``images (B, C, H, W)``."""
        found: Maps | list[Tensor] = self.backbone(padded(in_own_size(images, self.fixed), self.stride))
        return found if isinstance(found, Maps) else Maps(found)

    def answer(
        self, images: Tensor, *, classes: bool = True, masks: bool = True, maps: Maps | None = None
    ) -> Prediction:
        """The embedding, and as far as they are asked for the other heads; the decoder runs only where it is needed.

        Args:
            images: ``(B, C, H, W)``, normalised, of any size.
            classes: whether the class head is asked.
            masks: whether the mask head is asked.
            maps: what :meth:`maps` made of the images, where it is known.
        """
        maps = self.maps(images) if maps is None else maps
        mask_logits = None
        if (masks or self.mask_pooling) and self.mask_head is not None:
            mask_logits = self.mask_head(maps if self.decoder is None else self.decoder(maps.levels))
        answers = self.heads(self._features(maps, mask_logits, classes=classes))
        if mask_logits is not None:
            mask_logits = self._in_place(mask_logits, images) if masks else None
        return answers._replace(mask_logits=mask_logits)

    def vectors(self, images: Tensor) -> Features:
        """What the class head and the embedding head read of ``images (B, C, H, W)``, of a network without masks."""
        return self._features(self.maps(images), None)

    def heads(self, features: Features) -> Prediction:
        """The class logits and the embedding of vectors; no masks."""
        class_logits = embedding = None
        if features.deepest is not None and self.class_head is not None:
            class_logits = self.class_head(dropout(features.deepest, self.dropout, self.training))
        if features.pooled is not None and self.embedding_head is not None:
            # In float32 whatever the precision: eight bits of mantissa would leave lengths off by half a percent.
            with torch.autocast(features.pooled.device.type, enabled=False):
                head = self.embedding_head
                embedding = unit(
                    linear(at_least_single(features.pooled), at_least_single(head.weight), at_least_single(head.bias))
                )
        return Prediction(class_logits, None, embedding)

    def _features(self, maps: Maps, mask_logits: Tensor | None, *, classes: bool = True) -> Features:
        deepest = average(maps.levels[-1]) if classes and self.class_head is not None else None
        return Features(deepest, None if self.embedding_head is None else self._pool(maps, mask_logits))

    def _in_place(self, mask_logits: Tensor, images: Tensor) -> Tensor:
        """Logits of the images as the backbone took them, at the size that they were given in."""
        height, width = images.shape[-2:]
        if self.fixed is None or (height, width) == self.fixed:
            return mask_logits[..., :height, :width]
        inner = mask_logits[..., : self.fixed[0], : self.fixed[1]]
        return interpolate(inner, size=(height, width), mode="bilinear", align_corners=False)

    def _pool(self, maps: Maps, mask_logits: Tensor | None) -> Tensor:
        features = maps.features[self.embedding_stage]
        tokens = None if maps.tokens is None else maps.tokens[self.embedding_stage]
        if self.pooling in TOKEN_POOLING and tokens is not None:
            token = tokens[:, 0]
            return token if self.pooling == "token" else torch.cat([token, average(features)], dim=1)
        if self.pooling == "grid":
            return grid_averages(features)
        if self.exponent is not None:
            return generalised_mean(features, self.exponent)
        if self.attention is not None:
            attended: Tensor = self.attention(features)
            return attended
        if self.mask_pooling and mask_logits is not None:
            return foreground_average(features, mask_logits)
        return average(features)


def looks_of(maps: Maps) -> tuple[Tensor, Tensor]:
    """How images look to the backbone, in two parts: the averages of its finer maps, and of its coarser ones.

    The finer maps tell photographs from drawings and bright from dark, the coarser ones what is on them.

    Args:
        maps: from :meth:`MultiTaskModel.maps`.

    Returns:
        Two ``(B, F)`` in float32.
    """
    means = [average(each.float()) for each in maps.features]
    return torch.cat(means[: len(means) // 2 or 1], dim=1), torch.cat(means[len(means) // 2 :], dim=1)


def predicted_masks(logits: Tensor) -> Tensor:
    """Mask ids ``(B, H, W)`` int64 of logits ``(B, M, H, W)``: one channel is cut at 0, several take the largest."""
    return (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(dim=1)


def masks_in_size(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Mask ids ``(B, h, w)`` uint8 of another size, from logits ``(B, M, H, W)`` that are interpolated to it.

    Args:
        logits: of the size that the network saw.
        size: height and width, such as the image's own.
    """
    return predicted_masks(interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)).to(torch.uint8)
