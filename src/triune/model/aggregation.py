"""Gradients of several tasks made into one that respects their conflicts, by torchjd: UPGrad, PCGrad and others."""

import importlib.util
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from triune.errors import InputError
from triune.model.conflicts import Reduce, SharedAndRest, gramian, same, task_gradient

RADIUS: Final = 0.4
"""c of CAGrad: how far, of the mean gradient's length, the step may lie from it; the paper's value for three tasks."""

NEEDS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "upgrad": ("weighting", ("torchjd", "qpsolvers", "quadprog")),
    "pcgrad": ("weighting", ("torchjd",)),
    "mgda": ("weighting", ("torchjd",)),
    "cagrad": ("weighting-solvers", ("torchjd", "cvxpy", "clarabel")),
    "nash-mtl": ("weighting-solvers", ("torchjd", "cvxpy", "ecos")),
}
"""Name of the method → extra of this package that brings what it needs, and the modules that it needs."""


def check_installed(method: str) -> None:
    """Raise an :class:`InputError` that names the extra where a method's modules are not installed."""
    extra, modules = NEEDS[method]
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"--loss.weighting {method} needs {', '.join(missing)}, not installed here: pip install 'triune[{extra}]'"
        )


class Aggregation:
    """The heads learn from their own gradients, the shared weights from one that a method of torchjd makes of all.

    The methods are UPGrad (Quinton and Rey 2024), PCGrad (Yu et al. 2020), CAGrad (Liu et al. 2021), MGDA (Désidéri
    2012; Sener and Koltun 2018) and Nash-MTL (Navon et al. 2022), with torchjd's own settings. A task that does not
    move the shared weights at a step (no item of the batch has its target, or no triplet is active) is left out of it.

    Args:
        method: a name of :data:`NEEDS`.
        tasks: their names.

    Raises:
        InputError: what the method needs is not installed.
    """

    def __init__(self, method: str, tasks: Sequence[str]) -> None:
        check_installed(method)
        self.method = method
        self.factors = dict.fromkeys(tasks, 1.0)
        self.shown: dict[str, float] = {}
        self._bargains: dict[str, Any] = {}

    def loss(self, total: Tensor, terms: Mapping[str, Tensor], weights: SharedAndRest, reduce: Reduce = same) -> Tensor:
        """The value of the total, whose backward pass hands out the gradients that were made here.

        Costs one backward pass a term. What comes after it (clipping, averaging) sees ordinary gradients.

        Args:
            total: the sum of the terms.
            terms: by task.
            weights: of the network.
            reduce: the mean over processes; this is for one.

        Raises:
            InputError: the terms do not reach the shared weights.
        """
        shared = weights.shared
        if not shared:
            return total
        everything = [*shared, *weights.rest]
        gradients = [task_gradient(term, everything) for term in terms.values()]
        own = [gradient[: len(shared)] for gradient in gradients]
        if all(part is None for gradient in own for part in gradient):
            raise InputError(
                f"--loss.weighting {self.method} needs losses that reach the backbone at once, and those of this batch "
                "do not"
            )
        found = self.combined(gramian(own, reduce))
        self.shown = dict(zip(terms, found.tolist(), strict=True))
        made = [_summed(parts, self.shown.values()) for parts in zip(*own, strict=True)]
        even = [1.0] * len(gradients)
        made += [_summed(parts, even) for parts in zip(*(each[len(shared) :] for each in gradients), strict=True)]
        given: Tensor = _Given.apply(total.detach(), made, *everything)
        return given

    def combined(self, products: Tensor) -> Tensor:
        """The weight of each gradient in the one that is made of all, float64 ``(K,)``.

        A gradient of 0 has weight 0, and one that is alone weight 1. Where the products are not finite, or the method's
        solver finds nothing, all weigh 1.

        Args:
            products: the inner products of the gradients, float64 ``(K, K)``.
        """
        even = torch.ones(len(products), dtype=torch.float64)
        if not bool(torch.isfinite(products).all()):
            return even
        here = products.diagonal() > 0
        if int(here.sum()) < 2:
            return here.double()
        inner = products[here][:, here]
        try:
            found = self._method(here)(inner)
        except Exception:  # each solver has its own; the step is then that of fixed weights
            return even
        if not bool(torch.isfinite(found).all()):
            return even
        weights = torch.zeros_like(even)
        weights[here] = found.double()
        return weights

    def _method(self, here: Tensor) -> Callable[[Tensor], Tensor]:
        """What makes weights of inner products; bargaining remembers, for each set of tasks by itself."""
        from torchjd import aggregation

        if self.method == "nash-mtl":
            key = "".join(map(str, here.int().tolist()))
            if key not in self._bargains:
                self._bargains[key] = aggregation.NashMTL(n_tasks=int(here.sum()))
            return _of_rows(self._bargains[key].weighting)
        made: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
            "upgrad": aggregation.UPGradWeighting,
            "pcgrad": aggregation.PCGradWeighting,
            "mgda": aggregation.MGDAWeighting,
            "cagrad": lambda: aggregation.CAGradWeighting(c=RADIUS),
        }
        weighting = made[self.method]()
        # Their weights do not depend on the length of the gradients, but torchjd takes products below 1e-4 for 0.
        return lambda products: weighting(products / products.diagonal().sum())

    def end_epoch(self) -> None:
        """Nothing: every step stands for itself."""

    def state_dict(self) -> dict[str, Any]:
        """What a run that goes on from here begins with: the last bargain of each set of tasks."""
        found = {key: torch.as_tensor(each.weighting.prvs_alpha).clone() for key, each in self._bargains.items()}
        return {"bargains": found}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with what a checkpoint says."""
        self._bargains = {}
        for key, last in state["bargains"].items():
            self._method(torch.tensor([digit == "1" for digit in key]))
            self._bargains[key].weighting.prvs_alpha = last.numpy()


class _Given(torch.autograd.Function):
    """A value whose gradient is given."""

    @staticmethod
    def forward(context: Any, value: Tensor, gradients: list[Tensor | None], *parameters: Tensor) -> Tensor:
        context.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(context: Any, *above: Tensor) -> Any:
        return None, None, *(None if each is None else each * above[0] for each in context.gradients)


def _summed(parts: Sequence[Tensor | None], weights: Any) -> Tensor | None:
    """Σ weight · part of the parts that are there."""
    kept = [(part, weight) for part, weight in zip(parts, weights, strict=True) if part is not None]
    return torch.stack([part * weight for part, weight in kept]).sum(dim=0) if kept else None


def _of_rows(weighting: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A weighting of gradients ``(K, N)`` as one of their inner products: K rows ``(K, K)`` with the same products."""

    def weights(products: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(products)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that its problem is set up anew each time
            return weighting(vectors * values.clamp(min=0).sqrt())

    return weights
