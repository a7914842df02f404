"""Dynamic weight average: a task whose loss falls more slowly than the others' weighs more (Liu et al. 2019)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from triune.model.conflicts import Reduce, SharedAndRest, same

TEMPERATURE: Final = 2.0
"""Of the paper: the larger, the more even the weights."""


def dwa_weights(last: Tensor, before: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """λ_k = K · exp(w_k / T) / Σ_i exp(w_i / T) with w_k = L_k(t-1) / L_k(t-2), float64 ``(K,)``.

    Liu, Johns and Davison, End-to-End Multi-Task Learning with Attention, 2019, equation 7. A task whose loss was 0,
    or is not finite, tells nothing of how it falls: its w is 1.

    Args:
        last: ``(K,)`` mean losses of the epoch before.
        before: ``(K,)`` of the one before that.
        temperature: T.
    """
    last, before = last.double(), before.double()
    known = torch.isfinite(last) & torch.isfinite(before) & (before != 0)
    rates = torch.where(known, last / before, 1.0)
    return len(rates) * torch.softmax(rates / temperature, dim=0)


class DynamicWeightAverage:
    """Weighs the tasks of an epoch by their mean losses in the two before; in the first two all weigh 1.

    Args:
        tasks: their names.
    """

    def __init__(self, tasks: Sequence[str]) -> None:
        self.factors = dict.fromkeys(tasks, 1.0)
        self._epochs: list[Tensor] = []
        self._steps: list[Tensor] = []

    @property
    def shown(self) -> dict[str, float]:
        """The weight of each task now."""
        return dict(self.factors)

    def loss(self, total: Tensor, terms: Mapping[str, Tensor], weights: SharedAndRest, reduce: Reduce = same) -> Tensor:
        """The total as it is; what the terms cost is remembered.

        Args:
            total: the sum of the terms, each times its factor.
            terms: by task, without the factors.
            weights: of the network; not looked at.
            reduce: the mean over processes.
        """
        costs = torch.stack([terms[task].detach().float() for task in self.factors])
        self._steps.append(reduce(costs))  # stays on its device: nothing waits for it
        return total

    def end_epoch(self) -> None:
        """Weigh the next epoch's tasks."""
        if not self._steps:
            return
        mean = torch.stack(self._steps).cpu().double().mean(dim=0)
        self._epochs, self._steps = [*self._epochs, mean][-2:], []
        if len(self._epochs) == 2:
            before, last = self._epochs
            self.factors = dict(zip(self.factors, dwa_weights(last, before).tolist(), strict=True))

    def state_dict(self) -> dict[str, Any]:
        """What a run that goes on from here begins with."""
        return {"factors": dict(self.factors), "epochs": list(self._epochs), "steps": [s.cpu() for s in self._steps]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with what a checkpoint says."""
        self.factors = dict(state["factors"])
        self._epochs, self._steps = list(state["epochs"]), list(state["steps"])
