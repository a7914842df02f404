"""The embedding map."""

import html
import json
from dataclasses import replace

import numpy as np
import pytest

from report.building import run_results, shown
from triune.report.sections import map
from triune.report.sections.map import map_section
from triune.report.shown_items import ShownItems

pytestmark = pytest.mark.usefixtures("quick_map")


def test_every_item_has_a_dot_in_the_colour_of_its_identity(items: ShownItems) -> None:
    section = map_section(items)
    assert section is not None
    assert section.names == ["7", "8", "9"]
    assert [section.names[dot.identity] for dot in section.dots] == items.identities.tolist()
    assert all(map.MARGIN <= part <= map.SIDE - map.MARGIN for dot in section.dots for part in (dot.x, dot.y))
    assert len({(dot.style, dot.path) for dot in section.dots}) == 3


def test_up_on_the_map_is_up_on_the_page(items: ShownItems) -> None:
    section = map_section(items)
    assert section is not None
    heights = np.clip(items.embeddings[:, 1], 0, 1)
    assert [dot.y for dot in section.dots] == pytest.approx((map.MARGIN + (1 - heights) * 596).tolist())


def test_the_map_is_640_wide_with_a_margin_of_22(items: ShownItems) -> None:
    section = map_section(items)
    assert section is not None
    across = np.clip(items.embeddings[:, 0], 0, 1)
    assert [dot.x for dot in section.dots] == pytest.approx((22 + across * 596).tolist())
    assert section.side == 640


def test_of_many_items_a_thousand_are_shown(items: ShownItems) -> None:
    many = replace(
        items,
        images=items.images * 14,
        embeddings=items.embeddings.repeat(14, 0),
        identities=items.identities.repeat(14),
        boxes=None,
    )
    section = map_section(many)
    assert section is not None
    assert len(section.dots) == 1000 < len(many)


def test_up_to_24_identities_are_listed(items: ShownItems) -> None:
    for count in (24, 25):
        section = map_section(replace(items, identities=np.array([f"{i % count:02d}" for i in range(len(items))])))
        assert section is not None
        assert len(section.listed) == (24 if count == 24 else 0)
        assert [name.style for name in section.listed[9:12]] == ["c9", "c0", "c1"][: len(section.listed)]


def test_three_items_make_a_map_and_without_images_there_are_no_thumbnails(items: ShownItems) -> None:
    three = replace(items, images=["/gone.png"] * 3, embeddings=items.embeddings[:3], identities=items.identities[:3])
    section = map_section(three)
    assert section is not None
    assert len(section.dots) == 3
    assert section.facts == {"names": section.names, "columns": 0, "thumb": 0}


def test_identities_beyond_the_tenth_repeat_a_colour_in_another_shape() -> None:
    looks = [(map.colour(identity), map.shape(identity)) for identity in range(40)]
    assert len(set(looks)) == 40
    assert map.colour(10) == map.colour(0)


def test_the_script_gets_names_and_thumbnails(items: ShownItems) -> None:
    page = shown(run_results(), items=items)
    (plane,) = page.classes("map")
    facts = json.loads(str(plane["data-facts"]))
    assert facts == {"names": ["7", "8", "9"], "columns": 9, "thumb": 48}
    assert "Point at a dot to see its image." in page.said("map")
    assert "72 test images of 3 identities" in page.said("map")


def test_without_images_dots_tell_their_identity(items: ShownItems) -> None:
    page = shown(run_results(), items=replace(items, images=["/gone.png"] * len(items)))
    assert "Point at a dot to see its identity." in page.said("map")
    assert page.classes("switch") == []


def test_many_identities_are_not_listed(items: ShownItems) -> None:
    many = map_section(replace(items, identities=np.array([str(i) for i in range(len(items))])))
    few = map_section(items)
    assert many is not None
    assert few is not None
    assert (many.listed, len(few.listed)) == ([], 3)


def test_names_cannot_end_the_attribute_they_stand_in(items: ShownItems) -> None:
    evil = "\"'></svg><script>alert(1)</script>"
    page = shown(run_results(), items=replace(items, identities=np.array([evil] * len(items))))
    (plane,) = page.classes("map")
    assert json.loads(str(plane["data-facts"]))["names"] == [evil]
    assert "<script>alert" not in page.source
    assert evil in html.unescape(page.said("map"))


def test_fewer_than_three_items_make_no_map(items: ShownItems) -> None:
    two = replace(items, images=items.images[:2], embeddings=items.embeddings[:2], identities=items.identities[:2])
    assert map_section(two) is None
    assert map_section(None) is None
