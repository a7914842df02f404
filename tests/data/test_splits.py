"""Splits that keep their word: identities, shares, classes, seeds."""

import numpy as np
import polars as pl
import pytest

from made_items import frame_of, is_open_set
from triune.data.items import ItemTable
from triune.data.problems import DataError
from triune.data.splits import assign_splits, complete_splits


def counts(table: ItemTable, column="identity"):
    grouped = table.frame.group_by("split").agg(pl.col(column).n_unique())
    return dict(grouped.rows())


@pytest.mark.parametrize("seed", range(5))
def test_open_set_identities_never_cross_and_classes_are_shared_out_evenly(seed):
    identities = [f"{c}{i:02d}" for c in "abcd" for i in range(20) for _ in range(3)]
    table = assign_splits(frame_of(identities, [name[0] for name in identities]), seed=seed)
    assert is_open_set(table)
    assert table.split_kind == "open-set"
    assert counts(table) == {"train": 48, "val": 16, "test": 16}
    for _, part in table.frame.group_by("label"):
        shared = dict(part.group_by("split").agg(pl.col("identity").n_unique()).rows())
        assert shared["train"] in (11, 12, 13)
        assert shared["val"] in (3, 4, 5)
        assert shared["test"] == 4


def test_splits_depend_on_the_seed_alone_not_on_the_order_of_rows():
    identities = [f"p{i}" for i in range(30) for _ in range(2)]
    table = frame_of(identities)
    first = assign_splits(table, seed=3).frame
    assert first["split"].to_list() == assign_splits(table, seed=3).frame["split"].to_list()
    assert first["split"].to_list() != assign_splits(table, seed=4).frame["split"].to_list()
    shuffled = ItemTable(table.frame.sample(fraction=1, shuffle=True, seed=0), "made")
    again = assign_splits(shuffled, seed=3).frame.sort("row")
    assert again["split"].to_list() == first["split"].to_list()


@pytest.mark.parametrize("count", [6, 7, 9])
def test_few_identities_leave_two_to_each_split(count):
    table = assign_splits(frame_of([f"p{i}" for i in range(count) for _ in range(2)]))
    assert min(counts(table).values()) >= 2


def test_too_few_identities_are_refused_with_the_ways_out():
    with pytest.raises(DataError, match="there are 5 identities") as caught:
        assign_splits(frame_of([f"p{i}" for i in range(5) for _ in range(9)]))
    assert "closed-set" in str(caught.value)


def test_images_are_held_out_only_where_the_test_classes_were_never_trained_on():
    digits = [str(i) for i in range(10) for _ in range(20)]
    held = assign_splits(frame_of(digits, digits))
    out, train = held.part("holdout"), held.part("train")
    assert set(out["identity"]) == set(train["identity"])
    assert out["identity"].value_counts()["count"].to_list() == [3] * 6
    assert "holdout" not in counts(assign_splits(frame_of(digits, ["digit"] * 200)))
    pairs = [str(i) for i in range(10) for _ in range(2)]
    assert "holdout" not in counts(assign_splits(frame_of(pairs, pairs))), "two images must stay in train"


@pytest.mark.parametrize("images", [4, 5, 10])
def test_closed_set_leaves_two_of_every_identity_in_train_and_keeps_the_shares(images):
    table = assign_splits(frame_of([f"p{i}" for i in range(40) for _ in range(images)]), "closed-set")
    train = table.part("train")["identity"].value_counts()
    assert train["count"].min() >= 2
    assert len(train) == 40
    for split in ("val", "test"):
        assert len(table.part(split)) == pytest.approx(8 * images, abs=2)
        assert table.part(split)["identity"].value_counts()["count"].min() >= 2


def test_closed_set_without_images_to_spare_is_refused():
    with pytest.raises(DataError, match="too few images of an identity for the split"):
        assign_splits(frame_of([f"p{i}" for i in range(40) for _ in range(3)]), "closed-set")


def test_items_without_an_identity_are_shared_out_by_image():
    table = assign_splits(frame_of([None] * 100))
    assert {s: len(table.part(s)) for s in ("train", "val", "test")} == {"train": 60, "val": 20, "test": 20}


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (1.0, 0.0, 0.0), (0.5, 0.5, 0.5)])
def test_fractions_must_be_fractions(fractions):
    with pytest.raises(ValueError, match="fractions"):
        assign_splits(frame_of(["a"] * 9), fractions=fractions)


def test_a_given_split_gets_the_val_or_test_it_lacks_by_identity():
    identities = [f"p{i}" for i in range(20) for _ in range(2)]
    no_val = complete_splits(frame_of(identities, split=["train"] * 30 + ["test"] * 10))
    assert counts(no_val) == {"train": 12, "val": 3, "test": 5}
    no_test = complete_splits(frame_of(identities, split=["train"] * 20 + ["validation"] * 20))
    assert counts(no_test) == {"train": 10, "val": 5, "test": 5}
    for table in (no_val, no_test):
        assert is_open_set(table)
        assert "were taken for it" in table.notes[0]
    only_train = complete_splits(frame_of(identities, split=["train"] * 40))
    assert counts(only_train) == {"train": 16, "val": 2, "test": 2}
    whole = frame_of(identities, split=["train"] * 20 + ["val"] * 10 + ["test"] * 10)
    assert complete_splits(whole).frame.equals(whole.frame)
    with pytest.raises(DataError, match="no row has the split train"):
        complete_splits(frame_of(identities, split=["test"] * 40))


# --- properties, over tables made at random --------------------------------------------------------------------------


def random_table(seed, identities=None, images=(1, 9), split=None):
    """Identities of several classes with images in any order; some images without an identity, some without a class."""
    g = np.random.default_rng(seed)
    count = identities or int(g.integers(6, 60))
    classes = g.integers(0, g.integers(1, 6), count)
    sizes = g.integers(*images, count)
    sizes[g.permutation(count)[: max(4, count // 2)]] += 2  # so that a split can hold a matching pair
    rows = [(f"id{i:02d}", f"class{classes[i]}") for i in range(count) for _ in range(sizes[i])]
    rows += [(None, None if k % 4 == 0 else f"class{k % 3}") for k in range(int(g.integers(0, 40)))]
    rows = [rows[i] for i in g.permutation(len(rows))]
    columns = {} if split is None else {"split": [split(name) for name, _ in rows]}
    return frame_of([name for name, _ in rows], [label for _, label in rows], **columns)


def by_identity(table):
    """identity → {split: how many images}."""
    found = {}
    for name, split in table.frame.select("identity", "split").rows():
        if name is not None:
            found.setdefault(name, {}).setdefault(split, 0)
            found[name][split] += 1
    return found


FRACTIONS = [(0.6, 0.2, 0.2), (0.5, 0.2, 0.3), (0.8, 0.1, 0.1)]
SEEDS = range(12)


@pytest.mark.parametrize("fractions", FRACTIONS)
@pytest.mark.parametrize("seed", SEEDS)
def test_open_set_gives_each_identity_to_one_split_in_the_shares_asked_for(seed, fractions):
    table = random_table(seed)
    split = assign_splits(table, fractions=fractions, seed=seed, pairs=False)
    assert split.split_kind == "open-set"
    assert split.frame.drop("split").equals(table.frame.drop("split")), "nothing but the splits is changed"
    assert split.frame["split"].null_count() == 0
    sides = {name: {"holdout": "train"}.get(s, s) for name, counts in by_identity(split).items() for s in counts}
    assert is_open_set(split)
    assert all(len({{"holdout": "train"}.get(s, s) for s in counts}) == 1 for counts in by_identity(split).values())
    total = len(sides)
    for name, fraction in (("val", fractions[1]), ("test", fractions[2])):
        share = sum(side == name for side in sides.values())
        assert share == 2 if fraction * total <= 2 else abs(share - fraction * total) <= 0.5
    assert sum(side == "train" for side in sides.values()) >= 2


@pytest.mark.parametrize("seed", SEEDS)
def test_open_set_takes_from_each_class_its_share_to_within_one_identity(seed):
    table = random_table(seed, identities=60)
    split = assign_splits(table, seed=seed, pairs=False)
    frame = split.frame.filter(pl.col("identity").is_not_null()).unique("identity")
    left = {"train": 0, "val": 0, "test": 0}
    for label, part in frame.group_by("label"):
        shares = {name: len(part.filter(pl.col("split").replace("holdout", "train") == name)) for name in left}
        assert abs(shares["test"] - len(part) * 12 / 60) < 1, label
        rest = len(part) - shares["test"]
        assert abs(shares["val"] - rest * 12 / 48) < 1, label


@pytest.mark.parametrize("kind", ["open-set", "closed-set"])
@pytest.mark.parametrize("seed", range(4))
def test_the_seed_and_nothing_else_decides(kind, seed):
    table = random_table(seed, identities=40, images=(6, 9))
    first = assign_splits(table, kind, seed=seed).frame["split"].to_list()
    assert assign_splits(table, kind, seed=seed).frame["split"].to_list() == first
    others = [assign_splits(table, kind, seed=seed + more).frame["split"].to_list() for more in (1, 2, 3)]
    assert all(other != first for other in others)
    assert (
        assign_splits(frame_with(table, "split", ["test"] * len(table.frame)), kind, seed=seed).frame["split"].to_list()
        == first
    ), "an earlier split plays no part"


def frame_with(table, name, values):
    return ItemTable(table.frame.with_columns(pl.Series(name, values, pl.String)), table.source)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_split_that_must_hold_matching_pairs_holds_one_or_is_refused(seed):
    table = random_table(seed, images=(1, 2))
    free = assign_splits(table, seed=seed, pairs=False)
    has_pairs = all(any(counts.get(name, 0) >= 2 for counts in by_identity(free).values()) for name in ("val", "test"))
    if has_pairs:
        assert assign_splits(table, seed=seed).frame.equals(free.frame), "asking for pairs changes no draw"
    else:
        with pytest.raises(DataError, match="matching pair"):
            assign_splits(table, seed=seed)


def test_single_images_can_be_shared_out_where_no_pair_is_judged():
    table = frame_of([f"p{i}" for i in range(20)])
    for kind in ("open-set", "closed-set"):
        with pytest.raises(DataError, match="matching pair"):
            assign_splits(table, kind)
    assert counts(assign_splits(table, pairs=False)) == {"train": 12, "val": 4, "test": 4}
    assert counts(assign_splits(table, "closed-set", pairs=False)) == {"train": 20}


@pytest.mark.parametrize("holdout", [0.15, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(6))
def test_what_is_held_out_is_a_share_of_each_training_identity_that_leaves_two(seed, holdout):
    g = np.random.default_rng(seed)
    names = [f"id{i}" for i in range(20) for _ in range(int(g.integers(2, 15)))]
    sizes = {name: names.count(name) for name in names}
    split = assign_splits(frame_of(names, names), seed=seed, holdout=holdout)
    for name, found in by_identity(split).items():
        if "train" in found:
            assert found["train"] >= 2
            assert found.get("holdout", 0) == max(0, min(round(holdout * sizes[name]), sizes[name] - 2))
        else:
            assert "holdout" not in found
    assert "holdout" not in set(assign_splits(frame_of(names, names), seed=seed, holdout=0).frame["split"])


@pytest.mark.parametrize("fractions", FRACTIONS)
@pytest.mark.parametrize("seed", SEEDS)
def test_closed_set_keeps_two_images_of_each_identity_and_the_shares(seed, fractions):
    table = random_table(seed, identities=40, images=(8, 14))
    split = assign_splits(table, "closed-set", fractions, seed)
    assert split.split_kind == "closed-set"
    found = by_identity(split)
    assert all(each["train"] >= 2 for each in found.values())
    total = sum(sum(each.values()) for each in found.values())
    for name, fraction in (("val", fractions[1]), ("test", fractions[2])):
        share = sum(each.get(name, 0) for each in found.values())
        assert abs(share - fraction * total) <= 2
        assert all(each.get(name) != 1 for each in found.values()), "one image alone gives no matching pair"
        for each in found.values():
            assert abs(each.get(name, 0) - fraction * sum(each.values())) <= 3


@pytest.mark.parametrize("seed", range(6))
def test_images_are_drawn_from_all_of_an_identitys_images(seed):
    table = frame_of([f"p{i}" for i in range(8) for _ in range(10)])
    places = set()
    for draw in range(40):
        split = assign_splits(table, "closed-set", seed=100 * seed + draw)
        rows = split.frame.with_row_index("place").filter(pl.col("split") == "test")["place"]
        places |= set(rows.to_list())
    assert len(places) == 80, "every image comes into the test split sooner or later"


@pytest.mark.parametrize("kind", ["open-set", "closed-set"])
@pytest.mark.parametrize("fractions", FRACTIONS)
def test_items_without_an_identity_are_shared_out_within_their_classes(kind, fractions):
    labels = ["a"] * 50 + ["b"] * 100 + [None] * 30
    split = assign_splits(frame_of([None] * 180, labels), kind, fractions)
    for label, size in (("a", 50), ("b", 100), (None, 30)):
        part = split.frame.filter(pl.col("label").eq_missing(pl.lit(label, pl.String)))
        for name, fraction in zip(("train", "val", "test"), fractions, strict=True):
            assert abs(len(part.filter(pl.col("split") == name)) - fraction * size) <= 1


def test_the_class_of_an_identity_is_its_commonest_label():
    """Forty identities with one odd label each: evenly over the classes all the same."""
    names = [f"id{i:02d}" for i in range(40) for _ in range(4)]
    labels = [label for i in range(40) for label in ["ab"[i % 2]] * 3 + ["odd"]]
    for seed in range(5):
        split = assign_splits(frame_of(names, labels), seed=seed, holdout=0)
        tests = {name for name, found in by_identity(split).items() if "test" in found}
        assert sum(int(name[2:]) % 2 for name in tests) == 4, "of eight test identities four are of each class"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_missing_val_is_taken_from_train_whole_identities_at_a_time(seed):
    def given(name):
        return "test" if name is not None and int(name[2:]) % 4 == 0 else "train"

    table = random_table(seed, identities=40, split=given)
    split = complete_splits(table, seed, pairs=False)
    before, after = by_identity(table), by_identity(split)
    assert all(len(each) == 1 for each in after.values())
    moved = {name for name in after if after[name] != before[name]}
    assert all(set(before[name]) == {"train"} and set(after[name]) == {"val"} for name in moved)
    assert len(moved) == round(0.2 * 30)
    assert split.notes[-1] == "made has no val split: 6 identities of train were taken for it"
    nameless = split.frame.filter(pl.col("identity").is_null())
    assert nameless["split"].to_list() == table.frame.filter(pl.col("identity").is_null())["split"].to_list()
    assert complete_splits(table, seed, pairs=False).frame.equals(split.frame)
    assert len({tuple(complete_splits(table, s, pairs=False).frame["split"]) for s in range(5)}) > 1


@pytest.mark.parametrize("seed", range(6))
def test_a_missing_test_is_half_of_val(seed):
    table = random_table(seed, identities=40, split=lambda name: "val" if name and name < "id20" else "train")
    after = by_identity(complete_splits(table, seed, pairs=False))
    assert sum("test" in each for each in after.values()) == sum("val" in each for each in after.values()) == 10
    assert all(set(after[f"id{i}"]) == {"train"} for i in range(20, 40))


def test_a_share_is_a_share_of_the_training_identities():
    table = frame_of([f"p{i:02d}" for i in range(50) for _ in range(2)], split=["train"] * 80 + ["test"] * 20)
    for share, count in ((0.1, 4), (0.25, 10), (0.5, 20), (0.01, 2)):
        assert counts(complete_splits(table, share=share))["val"] == count


def test_splits_that_cannot_be_completed_are_refused_with_what_to_do():
    few = frame_of([f"p{i}" for i in range(6) for _ in range(2)], split=["train"] * 6 + ["test"] * 6)
    with pytest.raises(DataError, match="the split val is missing, and train has 3 identities, too few to share"):
        complete_splits(few)
    enough = frame_of([f"p{i}" for i in range(8) for _ in range(2)], split=["train"] * 8 + ["test"] * 8)
    assert counts(complete_splits(enough)) == {"train": 2, "val": 2, "test": 4}
    singles = frame_of([f"p{i}" for i in range(20)], split=["train"] * 10 + ["test"] * 10)
    with pytest.raises(DataError, match="no identity that fell to val has two images"):
        complete_splits(singles)
    assert counts(complete_splits(singles, pairs=False)) == {"train": 8, "val": 2, "test": 10}


@pytest.mark.parametrize("holdout", [-0.1, 1, 2])
def test_a_holdout_is_a_share(holdout):
    with pytest.raises(ValueError, match="holdout"):
        assign_splits(frame_of(["a"] * 9), holdout=holdout)


def identities_tested(classes, seeds, images=2):
    """For each seed the identities that fell to test, of identities 0, 1, … with these classes."""
    names = [f"id{i}" for i in range(len(classes)) for _ in range(images)]
    labels = [label for label in classes for _ in range(images)]
    table = frame_of(names, labels)
    return [
        {int(name[2:]) for name, found in by_identity(assign_splits(table, seed=seed)).items() if "test" in found}
        for seed in range(seeds)
    ]


def test_any_two_identities_may_be_tested_together():
    one_class = identities_tested(["x"] * 10, 300)
    assert {pair for tests in one_class for pair in [tuple(sorted(tests))]} == {
        (a, b) for a in range(10) for b in range(a + 1, 10)
    }
    # Two classes of one identity each: no order of the classes keeps them apart for ever.
    assert any({0, 1} <= tests for tests in identities_tested(["a", "b", *"cccc", *"dddd"], 300))


def test_every_identity_is_as_likely_to_be_tested_as_any_other():
    draws = identities_tested(["lone", *["many"] * 9], 400)
    share = np.mean([[i in tests for i in range(10)] for tests in draws], axis=0)
    # A fifth of 400 draws: five standard errors are 0.1.
    np.testing.assert_allclose(share, 0.2, atol=0.1)


def test_what_is_held_out_is_drawn_from_all_of_an_identitys_images():
    names = [str(i) for i in range(10) for _ in range(10)]
    table = frame_of(names, names)
    places = set()
    for seed in range(60):
        rows = assign_splits(table, seed=seed).frame.with_row_index("place").filter(pl.col("split") == "holdout")
        places |= set(rows["place"].to_list())
    assert len(places) == 100


def test_closed_set_of_one_identity_is_refused_since_nothing_is_unlike_it():
    table = frame_of(["alone"] * 40)
    with pytest.raises(DataError, match="too few images of an identity for the split val"):
        assign_splits(table, "closed-set")
    assert counts(assign_splits(table, "closed-set", pairs=False)) == {"train": 1, "val": 1, "test": 1}


# --- shares that ask for more than there is --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fractions", "expected"),
    [((0.1, 0.1, 0.8), {"train": 2, "val": 2, "test": 6}), ((0.1, 0.8, 0.1), {"train": 2, "val": 6, "test": 2})],
)
def test_two_identities_are_left_to_each_split_however_much_the_others_ask_for(fractions, expected):
    table = frame_of([f"p{i}" for i in range(10) for _ in range(2)])
    assert counts(assign_splits(table, fractions=fractions)) == expected


def test_images_that_a_class_of_one_cannot_give_are_taken_from_the_next():
    """Ten classes of one image keep it in train; the eleventh gives the 20 of 100 images that are owed, no more."""
    labels = [f"a{i}" for i in range(10)] + ["b"] * 90
    split = assign_splits(frame_of([None] * 100, labels))
    assert {name: len(split.part(name)) for name in ("train", "val", "test")} == {"train": 60, "val": 20, "test": 20}


def test_a_single_image_to_spare_is_taken_though_it_gives_no_pair():
    split = assign_splits(frame_of([None] * 120, [f"c{i:02d}" for i in range(40) for _ in range(3)]))
    assert len(split.part("train")) == 80, "two of three images of each class"
    assert len(split.part("test")) == 24, "a fifth of all"
    assert len(split.part("val")) == 16, "what is left to spare"


def test_the_seed_is_0_unless_another_is_given():
    table = frame_of([f"p{i}" for i in range(30) for _ in range(2)])
    assert assign_splits(table).frame.equals(assign_splits(table, seed=0).frame)
    given = frame_of([f"p{i}" for i in range(30) for _ in range(2)], split=["train"] * 60)
    assert complete_splits(given).frame.equals(complete_splits(given, seed=0).frame)


def test_an_identity_of_one_image_holds_nothing_out():
    names = [f"p{i}" for i in range(30) for _ in range(1 if i % 2 else 6)]
    for seed in range(4):
        split = assign_splits(frame_of(names, names), seed=seed)
        held = set(split.part("holdout")["identity"])
        assert held == {name for name in split.part("train")["identity"] if names.count(name) == 6}


def test_a_split_whose_identities_have_one_image_each_holds_no_pair_though_the_others_do():
    for seed in range(20):
        names = [f"p{i:02d}" for i in range(10) for _ in range(1 if i < 7 else 5)]
        table = frame_of(names)
        free = by_identity(assign_splits(table, seed=seed, pairs=False))
        lacking = [s for s in ("val", "test") if not any(each.get(s, 0) > 1 for each in free.values())]
        if lacking:
            with pytest.raises(DataError, match=f"fell to {lacking[0]} has two images"):
                assign_splits(table, seed=seed)
        else:
            assign_splits(table, seed=seed)


def test_closed_set_needs_two_images_of_one_identity_and_one_of_another_and_no_more():
    """Of 3 images one is to spare: b gives it to test, c to val. Single images give none."""
    split = assign_splits(frame_of(["a"] * 40 + ["b"] * 3 + ["c"] * 3), "closed-set", (0.5, 0.25, 0.25))
    found = by_identity(split)
    assert found["a"] == {"train": 20, "val": 10, "test": 10}
    assert (found["b"], found["c"]) == ({"train": 2, "test": 1}, {"train": 2, "val": 1})
    with pytest.raises(DataError, match="too few images of an identity for the split val"):
        assign_splits(frame_of(["a"] * 40 + ["b", "c"]), "closed-set")
