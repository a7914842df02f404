"""More identities than there are: collages of four training images, each made up anew in every batch."""

import hashlib
from dataclasses import replace

import torch
from torch import Tensor

from triune.data.dataset import Batch


def add_collages(batch: Batch, identities: int, images: int, seed: int = 0, *, first: int | None = None) -> Batch:
    """Add invented identities to a batch, so that an embedding that sees few real ones learns what tells any apart.

    An invented identity is a choice of four identities of the batch, one for each quarter of the image; each of its
    images takes every quarter from another image of the identity chosen for it. So its images differ in the way that
    images of one identity differ, and it is unlike every real identity. Masks are put together alike; a collage has
    no class. The idea is CutMix (Yun et al. 2019) with new labels instead of mixed ones.

    Args:
        batch: B items; those without an identity are not used.
        identities: how many identities are invented.
        images: how many images each of them gets.
        seed: of the draws, which depend on it and on the batch's items only.
        first: the first invented identity; where not given, the one after the largest in use.

    Returns:
        The batch with ``identities * images`` items more; their identities go on from ``first``, their
        class and row is -1. The same batch, where it has fewer than two identities.
    """
    known = batch.identities >= 0
    names = torch.unique(batch.identities[known])
    if len(names) < 2 or not identities:
        return batch
    text = repr((seed, batch.rows.tolist())).encode()
    generator = torch.Generator().manual_seed(int.from_bytes(hashlib.blake2b(text, digest_size=7).digest(), "little"))
    rows = _draw(batch.identities.cpu(), names.cpu(), identities, images, generator).to(batch.images.device)
    start = batch.identities.max() + 1 if first is None else first
    new = start + torch.arange(identities, device=batch.identities.device)
    none = torch.full((identities * images,), -1, device=batch.rows.device)
    return replace(
        batch,
        images=torch.cat([batch.images, _paste(batch.images, rows)]),
        masks=torch.cat([batch.masks, _paste(batch.masks, rows)]),
        classes=torch.cat([batch.classes, none]),
        identities=torch.cat([batch.identities, new.repeat_interleave(images)]),
        rows=torch.cat([batch.rows, none]),
    )


def _draw(codes: Tensor, names: Tensor, identities: int, images: int, generator: torch.Generator) -> Tensor:
    """For each collage ``(identities * images)`` the four batch rows that its quarters come from."""
    chosen = torch.randint(len(names), (identities, 4), generator=generator)
    rows = torch.empty(identities, 4, images, dtype=torch.int64)
    for which in range(len(names)):
        members = torch.nonzero(codes == names[which])[:, 0]
        # A shuffled cycle through the members: no image twice before all were used.
        wanted = (chosen == which).nonzero()
        order = torch.rand(len(wanted), len(members), generator=generator).argsort(dim=1)
        picked = members[order[:, torch.arange(images) % len(members)]]
        rows[wanted[:, 0], wanted[:, 1]] = picked
    return rows.transpose(1, 2).reshape(-1, 4)


def _paste(planes: Tensor, rows: Tensor) -> Tensor:
    """Put quarters together: ``planes (B, …, H, W)``, ``rows (N, 4)`` to ``(N, …, H, W)``."""
    middle_y, middle_x = planes.shape[-2] // 2, planes.shape[-1] // 2
    result = planes[rows[:, 0]].clone()
    result[..., :middle_y, middle_x:] = planes[rows[:, 1]][..., :middle_y, middle_x:]
    result[..., middle_y:, :middle_x] = planes[rows[:, 2]][..., middle_y:, :middle_x]
    result[..., middle_y:, middle_x:] = planes[rows[:, 3]][..., middle_y:, middle_x:]
    return result
