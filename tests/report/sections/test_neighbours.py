"""Neighbours of sample queries."""

from dataclasses import replace

import numpy as np
import pytest

from report.building import run_results, shown
from triune.report.sections.neighbours import NEIGHBOURS, neighbours_section, sample_queries
from triune.report.shown_items import ShownItems

pytestmark = pytest.mark.usefixtures("quick_map")


def test_neighbours_are_the_closest_others_in_order(items: ShownItems) -> None:
    section = neighbours_section(items)
    assert section is not None
    unit = items.embeddings.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    distance = 1 - unit @ unit.T
    np.fill_diagonal(distance, np.inf)
    for place, query in zip(sample_queries(items.identities), section.queries, strict=True):
        nearest = np.argsort(distance[place], kind="stable")[:NEIGHBOURS]
        assert [found.distance for found in query.found] == pytest.approx(distance[place][nearest].tolist(), abs=1e-5)
        assert [found.picture.identity for found in query.found] == items.identities[nearest].tolist()


def test_neighbours_are_marked_right_or_wrong_by_frame_and_sign(items: ShownItems) -> None:
    section = neighbours_section(items)
    assert section is not None
    found = [(query, each) for query in section.queries for each in query.found]
    assert {each.right for _, each in found} == {True, False}
    assert all(each.right == (each.picture.identity == query.picture.identity) for query, each in found)
    page = shown(run_results(), items=items)
    said = page.said("neighbours")
    # The legend has one of each sign.
    assert said.count("✓") - 1 == sum(each.right for _, each in found)
    assert said.count("✗") - 1 == sum(not each.right for _, each in found)


def test_queries_have_a_second_item_and_few_identities_two_queries() -> None:
    assert sample_queries(np.array(["a", "b", "b", "c"])) == [1, 2]
    assert sample_queries(np.array(["a", "b"])) == []
    many = np.repeat([str(i) for i in range(20)], 2)
    chosen = sample_queries(many)
    assert len(chosen) == len(set(many[chosen])) == 6
    for identities, expected in ((1, [0, 2]), (2, [0, 2, 3, 5]), (3, [0, 2, 3, 5, 6, 8]), (4, [0, 3, 6, 9])):
        assert sample_queries(np.repeat(np.arange(identities), 3)) == expected


def test_each_of_six_queries_has_its_six_neighbours_and_is_none_of_them(items: ShownItems) -> None:
    section = neighbours_section(items)
    assert section is not None
    assert [len(query.found) for query in section.queries] == [6] * 6
    assert all(query.picture not in [each.picture for each in query.found] for query in section.queries)
    three = replace(
        items, images=items.images[:3], embeddings=items.embeddings[:3], identities=np.array(["a", "a", "b"])
    )
    section = neighbours_section(three)
    assert section is not None
    assert [len(query.found) for query in section.queries] == [2, 2]
    two = replace(items, images=items.images[:2], embeddings=items.embeddings[:2], identities=np.array(["a", "a"]))
    assert neighbours_section(two) is None


def test_there_is_no_section_without_images_or_second_items(items: ShownItems) -> None:
    assert neighbours_section(None) is None
    assert neighbours_section(replace(items, images=["/gone.png"] * len(items))) is None
    alone = np.array([str(i) for i in range(len(items))])
    assert neighbours_section(replace(items, identities=alone)) is None


def test_a_picture_without_a_file_says_so(items: ShownItems) -> None:
    mixed = [image if place % 2 else "/gone.png" for place, image in enumerate(items.images)]
    said = shown(run_results(), items=replace(items, images=mixed)).said("neighbours")
    assert "image not found" in said
