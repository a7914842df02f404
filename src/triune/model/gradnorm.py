"""GradNorm: weights that even out how much each task moves the last shared layer (Chen et al. 2018)."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Final

import torch
from torch import Tensor, nn

from triune.errors import InputError
from triune.model.conflicts import Reduce, SharedAndRest, gramian, same, task_gradient

ASYMMETRY: Final = 1.5
"""α of the paper for tasks that differ much: how strongly one that learns slowly is helped."""

RATE: Final = 0.025
"""The learning rate of the weights, as in the paper; by Adam, so that it does not depend on the size of the losses."""

LEAST: Final = 1e-3
"""No weight falls below it: a negative one would unlearn its task."""


def gradnorm_gradient(weights: Tensor, norms: Tensor, rates: Tensor, asymmetry: float = ASYMMETRY) -> Tensor:
    """The gradient by the weights w of Σ_i |G_i - Ḡ · r_i^α|, whose second part is held constant, ``(K,)``.

    G_i = w_i · ‖∇ L_i‖ is how much task i moves the layer, Ḡ their mean, and r_i the rate L_i / L_i(0) over the mean
    rate: Chen et al., GradNorm, 2018, equations 1 and 2.

    Args:
        weights: w ``(K,)``.
        norms: ‖∇ L_i‖ of the losses without w, ``(K,)``.
        rates: L_i / L_i(0) ``(K,)``.
        asymmetry: α.
    """
    moved = weights * norms
    target = moved.mean() * (rates / rates.mean()) ** asymmetry
    return torch.sign(moved - target) * norms


class GradNorm:
    """Weighs tasks anew at every step.

    The weights are those of the step before; they sum to the number of tasks. A task that does not move the layer at a
    step (no item of the batch has its target, or no triplet is active) keeps its weight at it.

    Args:
        tasks: their names.
        asymmetry: α.
        rate: of learning the weights.
    """

    def __init__(self, tasks: Sequence[str], asymmetry: float = ASYMMETRY, rate: float = RATE) -> None:
        self.tasks = tuple(tasks)
        self.asymmetry = asymmetry
        self._weights = nn.Parameter(torch.ones(len(self.tasks), dtype=torch.float64))
        self._first = torch.full((len(self.tasks),), torch.nan, dtype=torch.float64)
        self._optimizer = torch.optim.Adam([self._weights], lr=rate)
        self._layer: nn.Parameter | None = None

    @property
    def factors(self) -> dict[str, float]:
        """The weight of each task now."""
        return dict(zip(self.tasks, self._weights.tolist(), strict=True))

    @property
    def shown(self) -> dict[str, float]:
        """The weight of each task now."""
        return self.factors

    def loss(self, total: Tensor, terms: Mapping[str, Tensor], weights: SharedAndRest, reduce: Reduce = same) -> Tensor:
        """The total as it is; after it the factors learn, for the next step.

        Args:
            total: the sum of the terms, each times its factor.
            terms: by task, without the factors.
            weights: of the network; the last of the shared ones that all tasks reach is looked at.
            reduce: the mean over processes.

        Raises:
            InputError: the terms do not reach the shared weights.
        """
        shared = weights.shared
        if not shared:
            return total
        if self._layer is None or not self._layer.requires_grad:
            self._layer = last_shared([terms[task] for task in self.tasks], shared)
        gradients = [task_gradient(terms[task], [self._layer]) for task in self.tasks]
        norms = gramian(gradients, reduce).diagonal().sqrt()
        costs = reduce(torch.stack([terms[task].detach().float() for task in self.tasks]))
        self.learn(norms, costs.cpu().double())
        return total

    def learn(self, norms: Tensor, losses: Tensor) -> None:
        """One step of the weights.

        Args:
            norms: ‖∇ L_i‖ of the losses without their weights, float64 ``(K,)``; 0 where a task has nothing to learn.
            losses: L_i, float64 ``(K,)``.
        """
        here = (norms > 0) & torch.isfinite(norms) & torch.isfinite(losses)
        self._first = torch.where(here & ~torch.isfinite(self._first), losses, self._first)
        if int(here.sum()) < 2:
            return
        rates = torch.where(self._first > 0, losses / self._first, 1.0).clamp(min=0)
        before = self._weights.detach().clone()
        gradient = torch.zeros_like(before)
        gradient[here] = gradnorm_gradient(before[here], norms[here], rates[here], self.asymmetry)
        self._weights.grad = gradient
        self._optimizer.step()
        with torch.no_grad():
            learnt = torch.where(here, self._weights.clamp(min=LEAST), before)
            self._weights.copy_(learnt * len(self.tasks) / learnt.sum())

    def end_epoch(self) -> None:
        """Nothing: the weights learn at every step."""

    def state_dict(self) -> dict[str, Any]:
        """What a run that goes on from here begins with."""
        learnt = {"weights": self._weights.detach(), "first": self._first, "optimizer": self._optimizer.state_dict()}
        return deepcopy(learnt)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with what a checkpoint says."""
        with torch.no_grad():
            self._weights.copy_(state["weights"])
        self._first = state["first"].clone()
        self._optimizer.load_state_dict(deepcopy(state["optimizer"]))


def last_shared(terms: Sequence[Tensor], shared: Sequence[nn.Parameter]) -> nn.Parameter:
    """The last of the shared weights that every term reaches; no bias, and no scale of a normalisation.

    Args:
        terms: scalars; those without a graph are passed over.
        shared: in the order in which they are used.

    Raises:
        InputError: there is none.
    """
    gradients = [task_gradient(term, shared) for term in terms if term.requires_grad]
    for place in reversed(range(len(shared))):
        if shared[place].ndim > 1 and all(gradient[place] is not None for gradient in gradients):
            return shared[place]
    raise InputError("--loss.weighting gradnorm needs a layer of the backbone that all losses reach, and there is none")
