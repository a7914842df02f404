"""The P x K batch sampler: P classes with K images each, classes covered evenly, resumable to the batch."""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from torch.utils.data import Sampler

from triune.errors import InputError
from triune.labels import Labels, encode_labels, plain_labels
from triune.ranges import is_whole


class ClassBalancedBatchSampler(Sampler[list[int]]):
    """Batches of ``classes_per_batch`` (P) classes with ``samples_per_class`` (K) items each, as indices.

    The order is a pure function of the seed and the epoch:

    - Within an epoch the classes of a batch are distinct, and the numbers of times that any two classes come up
      differ by at most one. Over all epochs together they differ by at most one, too.
    - A class goes through all its items before one comes up again, over the ends of epochs too, and never shows an
      item twice in one batch, as long as it has K items. A class with fewer repeats them evenly
      (``small="repeat"``) or is left out (``small="skip"``). A class with a single item can give no positive
      pair and takes part only where K is 1.
    - Items without a class, which have the code ``unlabelled``, come in only with ``unlabelled_per_batch``, which adds
      that many of them to each batch, so that other heads learn from them.

    With several processes, ``classes_per_batch`` and ``unlabelled_per_batch`` are those of one process. All
    ranks follow one plan of global batches of ``P * world_size`` distinct classes, and each takes its own
    share of each.

    Use it as a loader's ``batch_sampler``. Its last batch moves it on to the next epoch; ``set_epoch``
    sets it.

    Args:
        labels: N integers or strings. Every one is a class, but for the code ``unlabelled``.
        classes_per_batch: P.
        samples_per_class: K; 1 gives no positive pair, and is for losses that need none: proxies, or two views.
        seed: of the order.
        batches: how many batches an epoch has. Where not given: as many as show about as many items as there
            are, and at least so many that every class comes up.
        small: what becomes of classes with 2 to K - 1 items.
        unlabelled: the integer that says in ``labels`` that an item has no class; where not given, each has one.
        unlabelled_per_batch: how many items without a class are added to each batch.
        rank: which process this is.
        world_size: how many there are.

    Raises:
        InputError: fewer classes than a global batch needs, or numbers out of range.

    Example:
        >>> sampler = ClassBalancedBatchSampler([0, 0, 1, 1, 2, 2], classes_per_batch=2, samples_per_class=2)
        >>> [len(batch) for batch in sampler]
        [4, 4]
    """

    def __init__(
        self,
        labels: Labels,
        classes_per_batch: int = 8,
        samples_per_class: int = 4,
        seed: int = 0,
        *,
        batches: int | None = None,
        small: Literal["repeat", "skip"] = "repeat",
        unlabelled: int | None = None,
        unlabelled_per_batch: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        _require(
            is_whole(classes_per_batch) and classes_per_batch >= 1,
            f"classes_per_batch is {classes_per_batch}: at least 1 is needed",
        )
        _require(
            is_whole(samples_per_class) and samples_per_class >= 1,
            f"samples_per_class is {samples_per_class}: at least 1 is needed, and 2 for a positive pair",
        )
        _require(0 <= rank < world_size, f"rank is {rank}: it lies from 0 to below world_size={world_size}")
        _require(batches is None or (is_whole(batches) and batches >= 1), f"batches is {batches}: at least 1 is needed")
        _require(
            is_whole(unlabelled_per_batch) and unlabelled_per_batch >= 0,
            f"unlabelled_per_batch is {unlabelled_per_batch}: 0 or more are needed",
        )
        _require(small in ("repeat", "skip"), f"small is {small!r}: it is 'repeat' or 'skip'")
        _require(is_whole(seed) and seed >= 0, f"seed is {seed}: it cannot be negative")
        plain = plain_labels(labels)
        codes = encode_labels(plain, against="the data set").numpy()
        has_class = np.ones(len(codes), dtype=bool)
        if unlabelled is not None:
            _require(plain.dtype.kind != "U", f"unlabelled is {unlabelled}, but labels are strings: leave it away")
            has_class = plain != unlabelled
        without = set(codes[~has_class].tolist())
        order = np.argsort(codes, kind="stable")
        names, starts = np.unique(codes[order], return_index=True)
        groups = np.split(order, starts[1:]) if len(names) else []
        least = samples_per_class if small == "skip" else min(2, samples_per_class)
        items = [group for name, group in zip(names, groups) if name not in without and len(group) >= least]

        self.classes_per_batch = classes_per_batch
        self.samples_per_class = samples_per_class
        self.seed = seed
        self.unlabelled_per_batch = unlabelled_per_batch
        self.rank = rank
        self.world_size = world_size
        self.classes = len(items)
        self.left_out = len(names) - len(without) - len(items)
        """How many classes have too few items to take part."""

        width = classes_per_batch * world_size
        if self.classes < width:
            left_out = f", {self.left_out} more have too few items" if self.left_out else ""
            across = f" over {world_size} processes" if world_size > 1 else ""
            most = self.classes // world_size
            way_out = (
                f"use classes_per_batch={most} with a larger samples_per_class"
                if most
                else f"add items: a class needs {'two' if least == 2 else least}"
            )
            raise InputError(
                f"a batch of {width} classes{across} was asked for, but there are {self.classes} "
                f"classes with at least {least} items{left_out}: {way_out}"
            )
        classless = np.flatnonzero(~has_class)
        if unlabelled_per_batch and not len(classless):
            raise InputError(
                f"unlabelled_per_batch is {unlabelled_per_batch}, but every item has a label: set it to 0, "
                "or say with unlabelled which code means none"
            )
        shown = sum(len(group) for group in items)
        about = round(shown / (width * samples_per_class))
        self.batches = batches or max(1, about, -(-self.classes // width))
        self._streams = [_Stream(group, samples_per_class, (seed, 1, place)) for place, group in enumerate(items)]
        self._unlabelled = _Stream(classless, unlabelled_per_batch * world_size, (seed, 2))
        self._epoch = 0
        self._start = 0
        self._next = 0

    def __len__(self) -> int:
        """Batches an epoch, of this process; the same for every rank."""
        return self.batches

    @property
    def epoch(self) -> int:
        """The epoch that is going on, or comes next."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next; the position inside it is kept if it is the one that is going on."""
        if epoch != self._epoch:
            self._epoch, self._start, self._next = epoch, 0, 0

    def state_dict(self, *, batch: int | None = None, epoch: int | None = None) -> dict[str, int]:
        """Where the order stands: the epoch, the next batch in it, and the settings it depends on.

        Args:
            batch: how many batches of the epoch were really used. A loader with workers draws some ahead of
                use, so that this sampler is further on than the training is.
            epoch: the epoch that ``batch`` belongs to.
        """
        return {
            **self._settings(),
            "epoch": self._epoch if epoch is None else epoch,
            "batch": self._next if batch is None else batch,
        }

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where :meth:`state_dict` was taken: the next iteration gives the rest of that epoch.

        Raises:
            InputError: the state is of a sampler with other settings or data.
        """
        for name, value in self._settings().items():
            if state.get(name) != value:
                raise InputError(
                    f"the state's {name} is {state.get(name)}, but this sampler's is {value}: "
                    "resume with the settings and the data it was saved with"
                )
        whole, part = divmod(state["batch"], self.batches)
        self._epoch = state["epoch"] + whole
        self._start = self._next = part

    def __iter__(self) -> Iterator[list[int]]:
        """The batches of the epoch, from where it stands."""
        epoch, start = self._epoch, self._start
        self._start = 0
        plan, occurrence = self._plan(epoch)
        for batch in range(start, self.batches):
            # Before the batch is handed out, since whoever counts batches may never ask for one more.
            self._next = batch + 1
            if self._next == self.batches:
                self._epoch, self._next = epoch + 1, 0
            yield self._batch(epoch, batch, plan, occurrence)

    def _batch(self, epoch: int, batch: int, plan: Any, occurrence: Any) -> list[int]:
        mine = slice(self.rank * self.classes_per_batch, (self.rank + 1) * self.classes_per_batch)
        indices: list[int] = []
        for place, count in zip(plan[batch, mine].tolist(), occurrence[batch, mine].tolist()):
            indices += self._streams[place].group(count).tolist()
        if self.unlabelled_per_batch:
            group = self._unlabelled.group(epoch * self.batches + batch)
            mine = slice(self.rank * self.unlabelled_per_batch, (self.rank + 1) * self.unlabelled_per_batch)
            indices += group[mine].tolist()
        return indices

    def _plan(self, epoch: int) -> tuple[Any, Any]:
        """The classes of every batch of an epoch, ``(batches, P * W)``, and how often each had come up before.

        An epoch is a number of permutations of all classes, after ``extra`` classes that come up once more.
        The extra ones are a window that moves on, epoch by epoch, over one fixed circle of the classes: so
        the total of a class before any epoch is known without going through the epochs, and the totals stay
        even.
        """
        width = self.classes_per_batch * self.world_size
        rounds, extra = divmod(self.batches * width, self.classes)
        circle = np.random.default_rng((self.seed, 3)).permutation(self.classes)
        place_on_circle = np.argsort(circle)
        first = epoch * extra
        extras = circle[(first + np.arange(extra)) % self.classes]
        before = epoch * rounds + (first - place_on_circle + self.classes - 1) // self.classes

        generator = np.random.default_rng((self.seed, 4, epoch))
        line = np.empty(self.batches * width, dtype=np.int64)
        line[:extra] = generator.permutation(extras)
        end = extra
        for _ in range(rounds):
            fresh = generator.permutation(self.classes)
            begun = end % width
            if begun:
                # The batch begun by the last permutation must be completed with classes it does not hold yet.
                held = np.isin(fresh, line[end - begun : end])
                ahead = np.flatnonzero(~held)[: width - begun]
                rest = np.delete(fresh, ahead)
                fresh = np.concatenate([fresh[ahead], rest])
            line[end : end + self.classes] = fresh
            end += self.classes
        return line.reshape(-1, width), (before[line] + _earlier(line)).reshape(-1, width)

    def _settings(self) -> dict[str, int]:
        return {
            "seed": self.seed,
            "classes_per_batch": self.classes_per_batch,
            "samples_per_class": self.samples_per_class,
            "unlabelled_per_batch": self.unlabelled_per_batch,
            "world_size": self.world_size,
            "classes": self.classes,
            "batches": self.batches,
        }


class ShuffledBatchSampler:
    """Every item once an epoch, in an order drawn from (seed, epoch), in batches that differ by one item at the most.

    No batch is much smaller than the others, so none of a single item comes up at the end, which batch normalisation
    could not bear. Of several processes each takes its turn of the batches, and all get as many: where their number
    is no multiple of the processes', batches are a little smaller than asked for.

    >>> [len(batch) for batch in ShuffledBatchSampler(33, batch_size=16)]
    [11, 11, 11]

    Args:
        count: how many items there are.
        batch_size: the largest batch.
        seed: of the order.
        rank: which of the processes this is.
        world_size: how many processes there are.

    Raises:
        InputError: there are fewer than two items for each process.
    """

    def __init__(self, count: int, batch_size: int, seed: int = 0, *, rank: int = 0, world_size: int = 1) -> None:
        _require(is_whole(batch_size) and batch_size >= 2, f"batch_size is {batch_size}: at least 2 are needed")
        _require(is_whole(seed) and seed >= 0, f"seed is {seed}: it cannot be negative")
        _require(0 <= rank < world_size, f"rank is {rank}: it lies from 0 to below world_size={world_size}")
        if count < 2 * world_size:
            raise InputError(f"{count} training items are too few for {world_size} processes: each needs 2 or more")
        self.count = count
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.batches = min(-(-count // (batch_size * world_size)), count // (2 * world_size))
        self._epoch = 0

    def __len__(self) -> int:
        """Batches an epoch, of this process; the same for every rank."""
        return self.batches

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        """The batches of the epoch."""
        order = np.random.default_rng((self.seed, 5, self._epoch)).permutation(self.count)
        for batch in np.array_split(order, self.batches * self.world_size)[self.rank :: self.world_size]:
            yield batch.tolist()


class ShareOfBatches:
    """One process's share of every batch of a plan that all processes follow.

    Whatever their number, the joined batches are those of one process.

    >>> plan = ClassBalancedBatchSampler([0, 0, 1, 1, 2, 2], classes_per_batch=3, samples_per_class=2)
    >>> [[len(batch) for batch in ShareOfBatches(plan, rank, 2)] for rank in range(2)]
    [[2], [4]]

    Args:
        plan: the batches of one process. Each process makes its own, from the same seed.
        rank: which of the processes this is.
        processes: how many there are.
        by: ``"identities"`` gives a process whole classes of a class-balanced batch, unless they are fewer than the
            processes; ``"images"`` gives each its part of all classes.

    Raises:
        InputError: a batch has fewer than two items for each process, which batch normalisation could not bear.
    """

    def __init__(
        self,
        plan: ClassBalancedBatchSampler | ShuffledBatchSampler,
        rank: int,
        processes: int,
        *,
        by: Literal["identities", "images"] = "identities",
    ) -> None:
        _require(0 <= rank < processes, f"rank is {rank}: it lies from 0 to below processes={processes}")
        _require(by in ("identities", "images"), f"by is {by!r}: it is 'identities' or 'images'")
        self.plan = plan
        self.rank = rank
        self.processes = processes
        self.group, self.groups, smallest = 1, 0, 0
        """How many items of a class come one after another at a batch's beginning, and how often."""
        if isinstance(plan, ClassBalancedBatchSampler):
            self.group, self.groups = plan.samples_per_class, plan.classes_per_batch
            smallest = self.group * self.groups + plan.unlabelled_per_batch
        else:
            smallest = plan.count // len(plan)
        if smallest < 2 * processes:
            raise InputError(
                f"batches of {smallest} images are too small for {processes} processes: each needs 2 images or more; "
                "raise batch_size, or take fewer processes"
            )
        self.by_identities = by == "identities" and self.groups >= processes

    def __len__(self) -> int:
        """Batches an epoch, as many as all processes have."""
        return len(self.plan)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next."""
        self.plan.set_epoch(epoch)

    def __iter__(self) -> Iterator[list[int]]:
        """This process's items of the epoch's batches."""
        for batch in self.plan:
            yield self._own(batch)

    def _own(self, batch: list[int]) -> list[int]:
        if not self.by_identities:
            return batch[self.rank :: self.processes]
        of_classes = self.group * self.groups
        begin, end = (self.group * (self.groups * place // self.processes) for place in (self.rank, self.rank + 1))
        return batch[begin:end] + batch[of_classes:][self.rank :: self.processes]


def plan_of(batches: Any) -> Any:
    """The batches of all processes of which some are a share; others as they are."""
    return batches.plan if isinstance(batches, ShareOfBatches) else batches


class _Stream:
    """An endless stream of items in groups of K, without one twice in a group, all before any comes again.

    Group g is positions gK to gK + K - 1 of a line of permutations of the n items. Where a group runs over
    the end of a permutation, the next one must not begin with an item of the group. It is mended by swaps
    that leave its own end as it is, so that no permutation depends on more than the one before; that takes n
    >= 2K. Fewer items go round in a fixed circle.
    """

    def __init__(self, items: Any, size: int, seed: tuple[int, ...]) -> None:
        self.items = items
        self.size = size
        self.seed = seed
        self._kept: dict[int, Any] = {}

    def group(self, number: int) -> Any:
        """The K items of a group."""
        count = len(self.items)
        positions = number * self.size + np.arange(self.size)
        if count < 2 * self.size:
            return self.items[self._raw(0)[positions % count]]
        rounds = positions // count
        first, last = int(rounds[0]), int(rounds[-1])
        if first == last:
            return self.items[self._order(first)[positions % count]]
        split = int((rounds == first).sum())
        places = positions % count
        return self.items[np.concatenate([self._order(first)[places[:split]], self._order(last)[places[split:]]])]

    def _order(self, number: int) -> Any:
        """Permutation ``number``, mended."""
        if number not in self._kept:
            order = self._raw(number)
            count = len(order)
            tail = number * count % self.size
            if number and tail:
                head = self.size - tail
                before = self._raw(number - 1)[count - tail :]
                clash = np.flatnonzero(np.isin(order[:head], before))
                free = head + np.flatnonzero(~np.isin(order[head : count - (number + 1) * count % self.size], before))
                swap = free[: len(clash)]
                order[clash], order[swap] = order[swap], order[clash]
            self._kept = {n: kept for n, kept in self._kept.items() if n >= number - 1} | {number: order}
        return self._kept[number]

    def _raw(self, number: int) -> Any:
        return np.random.default_rng((*self.seed, number)).permutation(len(self.items))


def _earlier(line: Any) -> Any:
    """For every entry, how often its value stands before it."""
    order = np.argsort(line, kind="stable")
    ordered = line[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(line) else np.array([], int)
    lengths = np.diff(np.r_[starts, len(line)])
    earlier = np.empty(len(line), dtype=np.int64)
    earlier[order] = np.arange(len(line)) - np.repeat(starts, lengths)
    return earlier


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise InputError(message)
