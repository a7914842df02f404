"""Faces, a folder a person."""

from made_items import is_open_set, picture
from triune.data.sources.lfw import lfw
from triune.data.sources.named import load_source


def test_lfw_leaves_out_people_with_a_single_picture_and_says_so(tmp_path):
    for person, count in {"Ann_A": 3, "Bob_B": 1, "Cy_C": 2, "Di_D": 2, "Ed_E": 2, "Flo_F": 2, "Gus_G": 4}.items():
        for number in range(count):
            picture(tmp_path / "lfw-py" / "lfw_funneled" / person / f"{person}_{number + 1:04d}.jpg", number)
    table = lfw(tmp_path)
    assert set(table.frame["identity"]) == {"Ann_A", "Cy_C", "Di_D", "Ed_E", "Flo_F", "Gus_G"}
    assert table.frame["label"].null_count() == len(table.frame)
    assert table.notes == ("lfw: 1 people with a single picture are left out, 6 stay",)
    assert is_open_set(load_source("lfw", root=tmp_path))
