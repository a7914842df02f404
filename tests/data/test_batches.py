"""The P x K batches: what is in them, how evenly, and that they can be stopped and gone on with anywhere."""

import doctest
from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from triune.data import batches as batches_module
from triune.data.batches import ClassBalancedBatchSampler, ShareOfBatches, ShuffledBatchSampler
from triune.errors import InputError


def random_settings(trial):
    """Labels of a few classes of very unequal sizes, and a P and K they allow."""
    generator = np.random.default_rng(trial)
    classes = int(generator.integers(1, 12))
    sizes = generator.integers(2, 23, classes)
    labels = np.repeat(np.arange(classes), sizes)
    generator.shuffle(labels)
    p, k = int(generator.integers(1, classes + 1)), int(generator.integers(2, 7))
    batches = int(generator.integers(1, 9)) if trial % 2 else None
    return labels, p, k, batches


def groups(batch, k):
    return [batch[start : start + k] for start in range(0, len(batch), k)]


@pytest.mark.parametrize("trial", range(60))
def test_every_promise_holds_for_classes_of_any_size(trial):
    labels, p, k, batches = random_settings(trial)
    sampler = ClassBalancedBatchSampler(labels, p, k, seed=trial, batches=batches)
    sizes = Counter(labels.tolist())
    total = Counter(dict.fromkeys(sizes, 0))
    shown = {name: [] for name in sizes}
    for _ in range(7):
        times = Counter(dict.fromkeys(sizes, 0))
        drawn = list(sampler)
        assert len(drawn) == len(sampler)
        for batch in drawn:
            assert len(batch) == p * k
            present = []
            for group in groups(batch, k):
                (name,) = {int(labels[i]) for i in group}
                present.append(name)
                times[name] += 1
                shown[name] += group
                repeats = Counter(group)
                if sizes[name] >= k:
                    assert len(repeats) == k, "a large class never shows an item twice in a batch"
                else:
                    assert len(repeats) == sizes[name], "a small class shows all its items"
                    assert max(repeats.values()) - min(repeats.values()) <= 1
            assert len(set(present)) == p
        assert max(times.values()) - min(times.values()) <= 1, "even within an epoch"
        if batches is None:
            assert min(times.values()) >= 1, "every class comes up in every epoch"
        total.update(times)
        assert max(total.values()) - min(total.values()) <= 1, "even over epochs"
    for name, items in shown.items():
        for start in range(0, len(items) - sizes[name] + 1, sizes[name]):
            assert len(set(items[start : start + sizes[name]])) == sizes[name], "all items before one comes again"


@pytest.mark.parametrize("trial", range(20))
def test_ranks_share_out_one_plan_of_distinct_classes(trial):
    generator = np.random.default_rng(trial)
    world = int(generator.integers(2, 4))
    labels = np.repeat(np.arange(9), generator.integers(2, 12, 9))
    ranks = [ClassBalancedBatchSampler(labels, 2, 3, seed=5, rank=r, world_size=world) for r in range(world)]
    assert len({len(rank) for rank in ranks}) == 1
    for _ in range(3):
        times = Counter()
        for parts in zip(*(list(rank) for rank in ranks), strict=True):
            names = [labels[group[0]] for part in parts for group in groups(part, 3)]
            assert len(set(names)) == 2 * world
            times.update(names)
        assert max(times.values()) - min(times.values()) <= 1


def test_the_joined_batches_of_the_ranks_are_those_of_one_process_with_their_classes_together():
    labels = np.repeat(np.arange(12), 10)
    alone = list(ClassBalancedBatchSampler(labels, 6, 4, seed=1))
    ranks = [list(ClassBalancedBatchSampler(labels, 3, 4, seed=1, rank=r, world_size=2)) for r in range(2)]
    assert [a + b for a, b in zip(*ranks)] == alone


def test_the_order_depends_on_seed_and_epoch_alone():
    labels = np.repeat(np.arange(10), 9)

    def epoch(seed, number):
        sampler = ClassBalancedBatchSampler(labels, 4, 3, seed=seed)
        sampler.set_epoch(number)
        return list(sampler)

    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    first = epoch(0, 2)
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    assert epoch(0, 2) == first
    assert epoch(0, 3) != first
    assert epoch(1, 2) != first
    sampler = ClassBalancedBatchSampler(labels, 4, 3)
    assert [list(sampler) for _ in range(3)][2] == first, "epochs follow each other by themselves"


def test_it_leaves_the_global_random_states_alone():
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    list(ClassBalancedBatchSampler([0, 0, 1, 1], 2, 2))
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002


@pytest.mark.parametrize("stop", [1, 5, 12])
def test_a_resumed_epoch_goes_on_with_the_very_next_batch(stop):
    labels = np.repeat(np.arange(7), 12)
    whole = ClassBalancedBatchSampler(labels, 3, 2, seed=4)
    whole.set_epoch(3)
    expected = list(whole) + list(whole)

    stopped = ClassBalancedBatchSampler(labels, 3, 2, seed=4)
    stopped.set_epoch(3)
    batches = iter(stopped)
    seen = [next(batches) for _ in range(stop)]
    state = stopped.state_dict()

    resumed = ClassBalancedBatchSampler(labels, 3, 2, seed=4)
    resumed.load_state_dict(state)
    resumed.set_epoch(3)  # as Lightning does at the start of the epoch
    assert seen + list(resumed) + list(resumed) == expected


def test_after_the_last_batch_the_state_is_the_start_of_the_next_epoch():
    sampler = ClassBalancedBatchSampler([0, 0, 1, 1, 2, 2], 2, 2)
    batches = iter(sampler)
    for _ in range(len(sampler)):
        next(batches)
    assert (sampler.state_dict()["epoch"], sampler.state_dict()["batch"]) == (1, 0)


def test_looking_at_a_first_batch_does_not_move_the_order():
    sampler = ClassBalancedBatchSampler(np.repeat(np.arange(6), 8), 3, 2)
    first = next(iter(sampler))
    assert next(iter(sampler)) == first


def test_a_loader_that_runs_ahead_can_say_how_many_batches_were_used():
    labels = np.repeat(np.arange(6), 8)
    expected = list(ClassBalancedBatchSampler(labels, 3, 2))
    ahead = ClassBalancedBatchSampler(labels, 3, 2)
    list(ahead)
    resumed = ClassBalancedBatchSampler(labels, 3, 2)
    resumed.load_state_dict(ahead.state_dict(epoch=0, batch=3))
    assert list(resumed) == expected[3:]


def test_a_state_of_other_settings_is_refused():
    labels = np.repeat(np.arange(6), 8)
    state = ClassBalancedBatchSampler(labels, 3, 2).state_dict()
    with pytest.raises(InputError, match="samples_per_class is 2, but this sampler's is 4"):
        ClassBalancedBatchSampler(labels, 3, 4).load_state_dict(state)


def test_an_epoch_shows_about_as_many_items_as_there_are():
    labels = np.repeat(np.arange(40), 41)
    assert len(ClassBalancedBatchSampler(labels, 16, 4)) == round(1640 / 64)


def test_items_without_a_class_come_in_only_where_asked_for_and_evenly():
    labels = np.array([0] * 6 + [1] * 6 + [-1] * 10)
    assert all(labels[i] != -1 for batch in ClassBalancedBatchSampler(labels, 2, 3, unlabelled=-1) for i in batch)
    for world in (1, 2):
        ranks = [
            ClassBalancedBatchSampler(
                labels, 2 // world, 3, unlabelled=-1, unlabelled_per_batch=3, batches=10, rank=r, world_size=world
            )
            for r in range(world)
        ]
        extra = []
        for parts in zip(*(list(rank) for rank in ranks), strict=True):
            mixed_in = [i for part in parts for i in part[-3:]]
            assert len(set(mixed_in)) == 3 * world
            extra += mixed_in
        assert (labels[extra] == -1).all()
        assert set(Counter(extra).values()) == {3 * world}


def test_small_classes_repeat_or_are_skipped_and_single_items_never_take_part():
    labels = [0] * 5 + [1] * 2 + [2] + [3] * 4
    repeating = ClassBalancedBatchSampler(labels, 3, 4)
    assert (repeating.classes, repeating.left_out) == (3, 1)
    assert Counter(next(iter(repeating))).most_common(1)[0][1] == 2
    skipping = ClassBalancedBatchSampler(labels, 2, 4, small="skip")
    assert (skipping.classes, skipping.left_out) == (2, 2)
    assert {labels[i] for batch in skipping for i in batch} == {0, 3}


@pytest.mark.parametrize("labels", [["b", "a", "b", "a"], torch.tensor([5, 2**40, 5, 2**40]), np.array([1, 0, 1, 0])])
def test_labels_may_be_strings_tensors_or_arrays(labels):
    (batch,) = list(ClassBalancedBatchSampler(labels, 2, 2))
    assert sorted(map(sorted, groups(batch, 2))) == [[0, 2], [1, 3]]


def test_labels_beyond_float32_stay_two_classes():
    labels = [2**24, 2**24, 2**24 + 1, 2**24 + 1]
    assert ClassBalancedBatchSampler(labels, 2, 2).classes == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classes_per_batch": 4}, "a batch of 4 classes was asked for, but there are 2 classes"),
        ({"classes_per_batch": 4}, "1 more have too few items: use classes_per_batch=2"),
        ({"classes_per_batch": 2, "world_size": 2}, "over 2 processes"),
        ({"classes_per_batch": 2, "world_size": 2}, "use classes_per_batch=1"),
        ({"classes_per_batch": 0}, "classes_per_batch is 0"),
        ({"classes_per_batch": 2, "samples_per_class": 0}, "at least 1 is needed, and 2 for a positive pair"),
        ({"classes_per_batch": 2, "rank": 1}, "rank is 1"),
        ({"classes_per_batch": 2, "batches": 0}, "batches is 0"),
        ({"classes_per_batch": 2, "unlabelled_per_batch": 2}, "every item has a label"),
        ({"classes_per_batch": 2, "small": "drop"}, "'repeat' or 'skip'"),
    ],
)
def test_what_cannot_be_met_is_refused_with_the_way_out(options, words):
    with pytest.raises(InputError) as caught:
        ClassBalancedBatchSampler([0, 0, 0, 1, 1, 2], **options)
    assert words in str(caught.value)


def test_the_examples_in_the_docstrings_are_true():
    assert doctest.testmod(batches_module) == doctest.TestResults(failed=0, attempted=5)


def test_no_classes_at_all_is_said():
    with pytest.raises(InputError, match="add items: a class needs two"):
        ClassBalancedBatchSampler([], 1, 2)


@pytest.mark.parametrize("workers", [0, 2])
def test_it_is_a_loaders_batch_sampler(workers):
    labels = torch.arange(6).repeat_interleave(4)
    sampler = ClassBalancedBatchSampler(labels, 3, 2, seed=2)
    loader = DataLoader(TensorDataset(labels), batch_sampler=sampler, num_workers=workers)
    for _ in range(2):
        batches = [batch for (batch,) in loader]
        assert len(batches) == len(loader) == 4
        assert all(len(batch.unique()) == 3 for batch in batches)


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize(("count", "size"), [(33, 32), (80, 128), (6, 2), (100, 7), (64, 16)])
def test_shuffled_batches_hold_every_item_once_and_none_is_of_one_item(count, size, processes):
    parts = [ShuffledBatchSampler(count, size, seed=4, rank=r, world_size=processes) for r in range(processes)]
    for epoch in range(3):
        for part in parts:
            part.set_epoch(epoch)
        batches = [list(part) for part in parts]
        assert [len(each) for each in batches] == [len(part) for part in parts] == [len(parts[0])] * processes
        sizes = [len(batch) for each in batches for batch in each]
        assert 2 <= min(sizes) <= max(sizes) <= min(sizes) + 1
        assert max(sizes) <= max(size, 3)
        assert sorted(item for each in batches for batch in each for item in batch) == list(range(count))


def test_shuffled_orders_depend_on_seed_and_epoch_alone():
    def order(seed, epoch):
        sampler = ShuffledBatchSampler(20, 4, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)


def test_too_few_items_for_the_processes_are_refused():
    with pytest.raises(InputError, match="3 training items are too few for 2 processes"):
        ShuffledBatchSampler(3, 8, rank=0, world_size=2)


@pytest.mark.parametrize("small", ["repeat", "skip"])
def test_one_item_a_class_takes_classes_of_a_single_item_in(small):
    """Proxy losses need no positive pair: every class takes part, and goes through its items in turn."""
    labels = np.array([0, 0, 0, 1, 2, 2, 3])
    sampler = ClassBalancedBatchSampler(labels, 3, 1, seed=1, small=small, batches=8)
    assert (sampler.classes, sampler.left_out) == (4, 0)
    seen = [batch for _ in range(2) for batch in sampler]
    assert all(len(set(labels[batch])) == 3 for batch in seen)
    counts = np.bincount(labels[np.concatenate(seen)], minlength=4)
    assert counts.max() - counts.min() <= 1
    of_class = np.bincount(np.concatenate(seen), minlength=7)
    assert of_class[:3].max() - of_class[:3].min() <= 1
    assert of_class[4:6].max() - of_class[4:6].min() <= 1


def test_one_item_a_class_is_divided_over_processes_and_resumed():
    whole = [list(ClassBalancedBatchSampler(range(8), 2, 1, seed=3, rank=r, world_size=2)) for r in range(2)]
    assert all(len(set(a) | set(b)) == 4 for a, b in zip(*whole))
    sampler = ClassBalancedBatchSampler(range(8), 2, 1, seed=3, world_size=2)
    first = next(iter(sampler))
    again = ClassBalancedBatchSampler(range(8), 2, 1, seed=3, world_size=2)
    again.load_state_dict(sampler.state_dict())
    assert [first, *again] == whole[0]


def test_classes_too_small_to_be_taken_whole_are_said():
    with pytest.raises(InputError, match="add items: a class needs 3"):
        ClassBalancedBatchSampler([0, 0, 1, 1], 1, 3, small="skip")


@pytest.mark.parametrize("processes", [2, 3, 5])
@pytest.mark.parametrize("by", ["identities", "images"])
def test_the_shares_of_all_processes_are_the_batches_of_one(processes, by):
    labels = np.repeat(np.arange(14), 5).tolist() + [-1] * 11

    def plan():
        return ClassBalancedBatchSampler(labels, 7, 3, seed=2, unlabelled=-1, unlabelled_per_batch=2)

    shares = [ShareOfBatches(plan(), rank, processes, by=by) for rank in range(processes)]
    for epoch in range(2):
        for each in shares:
            each.set_epoch(epoch)
        whole = plan()
        whole.set_epoch(epoch)
        parts = list(zip(*shares, strict=True))
        assert len(parts) == len(whole) == len(shares[0])
        for together, batch in zip(parts, whole, strict=True):
            assert Counter(i for part in together for i in part) == Counter(batch)
            assert min(map(len, together)) >= 2
            classes = [{labels[i] for i in part} - {-1} for part in together]
            if by == "identities":
                assert sum(map(len, classes)) == 7  # each in one process alone
            else:
                assert max(map(len, together)) - min(map(len, together)) <= 1


def test_the_shares_of_identities_follow_one_another_as_in_the_whole_batch():
    labels = np.repeat(np.arange(6), 4)
    shares = [ShareOfBatches(ClassBalancedBatchSampler(labels, 6, 2, seed=1), rank, 3) for rank in range(3)]
    whole = ClassBalancedBatchSampler(labels, 6, 2, seed=1)
    assert [[i for part in parts for i in part] for parts in zip(*shares)] == list(whole)


def test_fewer_identities_than_processes_are_all_in_every_process():
    labels = np.repeat(np.arange(2), 8)
    for rank in range(3):
        share = ShareOfBatches(ClassBalancedBatchSampler(labels, 2, 6, seed=1), rank, 3)
        assert all({labels[i] for i in batch} == {0, 1} for batch in share)


def test_shuffled_batches_are_shared_out_too_and_may_be_uneven():
    shares = [ShareOfBatches(ShuffledBatchSampler(23, 8), rank, 2) for rank in range(2)]
    assert sorted(i for share in shares for batch in share for i in batch) == list(range(23))
    assert {len(batch) for share in shares for batch in share} <= {3, 4}


def test_batches_with_less_than_two_items_a_process_are_refused():
    with pytest.raises(InputError, match="batches of 7 images are too small for 4 processes: each needs 2 images"):
        ShareOfBatches(ShuffledBatchSampler(21, 8), 0, 4)
    with pytest.raises(InputError, match="batches of 4 images are too small for 3 processes"):
        ShareOfBatches(ClassBalancedBatchSampler([0, 0, 1, 1], 2, 2), 0, 3)
    with pytest.raises(InputError, match="rank is 2"):
        ShareOfBatches(ShuffledBatchSampler(21, 8), 2, 2)
