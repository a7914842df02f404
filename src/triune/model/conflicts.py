"""Who drives the shared weights, and where tasks fight: the norm of each task's gradient, and the cosines between."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

Gradient: TypeAlias = list[Tensor | None]
"""Of one term: a tensor a parameter, ``None`` where the term does not reach it."""

Reduce: TypeAlias = Callable[[Tensor], Tensor]
"""The mean of a tensor over all processes."""


class SharedAndRest(NamedTuple):
    """The weights of a network that learn.

    Args:
        shared: those that all tasks share, in the order in which they are used.
        rest: all others: of the heads, and of the losses.
    """

    shared: Sequence[nn.Parameter]
    rest: Sequence[nn.Parameter]


class Conflicts(NamedTuple):
    """What some tasks do to the weights that they share.

    Args:
        norms: of each task's gradient, by name.
        cosines: between the gradients of two tasks, by both names; NaN where one of them is 0.
    """

    norms: dict[str, float]
    cosines: dict[tuple[str, str], float]

    def figures(self) -> dict[str, float]:
        """As ``grad_norm_TASK`` and ``grad_cosine_TASK_TASK``."""
        norms = {f"grad_norm_{task}": norm for task, norm in self.norms.items()}
        return norms | {f"grad_cosine_{a}_{b}": cosine for (a, b), cosine in self.cosines.items()}


def same(values: Tensor) -> Tensor:
    """The :data:`Reduce` of a single process."""
    return values


def task_gradient(term: Tensor, parameters: Sequence[nn.Parameter], scale: float = 1.0) -> Gradient:
    """The gradient of a term; the graph is kept.

    Args:
        term: a scalar; all are ``None`` where it has no graph.
        parameters: with respect to these.
        scale: what the term is multiplied with on the way, and the gradient divided by, so that half precision does
            not lose small gradients.
    """
    if not term.requires_grad or not parameters:
        return [None] * len(parameters)
    # Not in the forward pass's precision: a backward pass takes that of each operation by itself.
    with torch.autocast(term.device.type, enabled=False):
        found = torch.autograd.grad(term * scale, list(parameters), retain_graph=True, allow_unused=True)
    return [None if each is None else each / scale if scale != 1 else each for each in found]


def gramian(gradients: Sequence[Gradient], reduce: Reduce = same) -> Tensor:
    """The inner products of K gradients, ``(K, K)`` in float64 on the processor.

    Args:
        gradients: of each task, over the same parameters.
        reduce: takes the gradients' mean over processes.
    """
    products = []
    for parts in zip(*gradients, strict=True):
        like = next((part for part in parts if part is not None), None)
        if like is None:
            continue
        rows = torch.stack([torch.zeros_like(like) if part is None else part for part in parts])
        rows = reduce(rows.flatten(1).to(torch.promote_types(rows.dtype, torch.float32)))
        products.append(rows @ rows.T)
    if not products:
        return torch.zeros(len(gradients), len(gradients), dtype=torch.float64)
    # Each parameter's products are summed in single precision, the parameters' ones in double.
    return torch.stack(products).cpu().double().sum(dim=0)


def conflicts_of(tasks: Sequence[str], products: Tensor) -> Conflicts:
    """Norms and cosines of the inner products of K tasks' gradients.

    Args:
        tasks: their names.
        products: ``(K, K)``, of :func:`gramian`.
    """
    norms = products.diagonal().clamp(min=0).sqrt()
    cosines = (products / norms[:, None] / norms).clamp(-1, 1)
    pairs = combinations(range(len(tasks)), 2)
    return Conflicts(
        {task: float(norm) for task, norm in zip(tasks, norms, strict=True)},
        {(tasks[i], tasks[j]): float(cosines[i, j]) for i, j in pairs},
    )


def measure_conflicts(
    weighted: Mapping[str, Tensor], parameters: Sequence[nn.Parameter], reduce: Reduce = same, scale: float = 1.0
) -> Conflicts | None:
    """Norms and cosines of the terms' gradients; ``None`` where no term reaches the parameters.

    Costs one backward pass a term; the graph is kept.

    Args:
        weighted: the terms as they are summed, by task.
        parameters: those that the tasks share.
        reduce: takes the gradients' mean over processes; all of them must measure at the same step.
        scale: see :func:`task_gradient`.
    """
    gradients = [task_gradient(term, parameters, scale) for term in weighted.values()]
    if all(part is None for gradient in gradients for part in gradient):
        return None
    return conflicts_of(list(weighted), gramian(gradients, reduce))
