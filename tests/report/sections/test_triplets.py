"""The hardest triplets."""

from dataclasses import replace

import numpy as np
import pytest

from report.building import run_results, shown
from triune.report.sections.triplets import triplets_section
from triune.report.shown_items import ShownItems


def test_the_hardest_triplets_are_those_of_brute_force(items: ShownItems) -> None:
    unit = items.embeddings.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    distance = 1 - unit @ unit.T
    same = items.identities[:, None] == items.identities[None, :]
    worst: dict[str, list[tuple[float, float, float]]] = {}
    for a in range(len(unit)):
        positive = np.where(same[a] & (np.arange(len(unit)) != a), distance[a], -np.inf).max()
        negative = np.where(~same[a], distance[a], np.inf).min()
        worst.setdefault(items.identities[a], []).append((positive - negative, positive, negative))
    two_each = [entry for entries in worst.values() for entry in sorted(entries, reverse=True)[:2]]
    expected = [distance for _, *both in sorted(two_each, reverse=True) for distance in both]
    section = triplets_section(items)
    assert section is not None
    found = [distance for each in section.triplets for distance in (each.to_positive, each.to_negative)]
    assert found == pytest.approx(expected, abs=1e-5)
    for each in section.triplets:
        assert each.anchor.identity == each.positive.identity != each.negative.identity


@pytest.mark.usefixtures("quick_map")
def test_distances_stand_under_the_image_they_are_of(items: ShownItems) -> None:
    section = triplets_section(items)
    assert section is not None
    said = shown(run_results(), items=items).said("triplets")
    for each in section.triplets:
        assert f"positive {each.to_positive:.3f}{each.positive.identity}" in said
        assert f"negative {each.to_negative:.3f}{each.negative.identity}" in said


def test_there_is_no_section_without_images_or_triplets(items: ShownItems) -> None:
    assert triplets_section(None) is None
    assert triplets_section(replace(items, images=["/gone.png"] * len(items))) is None
    assert triplets_section(replace(items, identities=np.array(["one"] * len(items)))) is None
