"""Counts and their nouns."""

from triune.plurals import plural


def test_counts_are_set_apart_and_their_nouns_agree() -> None:
    assert [plural(n, "step") for n in (0, 1, 2, 1200)] == ["0 steps", "1 step", "2 steps", "1,200 steps"]
    assert [plural(n, "identity", "identities") for n in (0, 1)] == ["0 identities", "1 identity"]
