"""GradCache: the exact gradient of a loss over a batch of any size, with the memory of a small one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import pairwise
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

Inputs: TypeAlias = "Tensor | Sequence[Inputs] | Mapping[str, Inputs]"


def grad_cache(
    model: Callable[[Any], Tensor],
    inputs: Inputs,
    loss: Callable[[Tensor], Tensor],
    chunk_size: int,
    *,
    scaler: torch.amp.GradScaler | None = None,
) -> Tensor:
    """Add to every ``.grad`` the gradient of ``loss(model(inputs))``, computed in chunks (Gao et al. 2021).

    The batch is embedded without a graph, chunk by chunk; the loss of all embeddings gives its gradient with respect to
    each; then each chunk is embedded again, with a graph, and that gradient is sent through it. Memory: one chunk's
    activations and all embeddings. Time: one more forward pass. The gradient is that of the whole batch, not an
    average of chunks, which for losses between items is not the same.

    Both passes see the same random numbers (dropout), and the buffers of a module are as they were before the first
    pass, so that running statistics are counted once. Batch normalisation normalises within a chunk, as it does with
    any small batch; a layer that looks across the whole batch cannot be split.

    Call it where ``loss.backward()`` would be called: between ``zero_grad`` and ``step``, inside autocast if any. Under
    DistributedDataParallel, gradients are exchanged with the last chunk. In Lightning, use manual optimisation.

    >>> network, criterion = nn.Linear(8, 4), TripletLoss()
    >>> loss = grad_cache(network, images, lambda embeddings: criterion(embeddings, labels), chunk_size=32)

    Args:
        model: inputs → embeddings ``(chunk, D)``.
        inputs: a tensor, or tensors in lists and dicts, whose first dimension is the batch.
        loss: all embeddings ``(N, D)`` → scalar. What it learns itself, such as proxies, gets gradients too.
        chunk_size: items at a time, at most; all chunks are of nearly one size.
        scaler: of automatic mixed precision with float16.

    Returns:
        The loss, without a graph.

    Raises:
        ValueError: there is nothing to embed, parts of the inputs differ in length, or ``chunk_size`` is below 1.
    """
    passes = TwoPasses(model, inputs, chunk_size)
    value = loss(passes.embeddings)
    scaled = scaler.scale(value) if scaler is not None else value
    if scaled.requires_grad:
        torch.autograd.backward(scaled)
        passes.backward(lambda: _not_synchronised(model))
    return value.detach()


class TwoPasses:
    """The two passes of :func:`grad_cache` by themselves, for loops that call ``backward`` in their own place.

    The first pass is made at once; ``embeddings`` is what came out. Once a loss of them has had its backward pass,
    :meth:`backward` sends their gradients through the network.

    Args:
        model: inputs → ``(chunk, D)``.
        inputs: a tensor, or tensors in lists and dicts, whose first dimension is the batch.
        chunk_size: items at a time.
        module: whose buffers the first pass leaves as they were; ``model`` where not given.

    Raises:
        ValueError: as for :func:`grad_cache`.
    """

    def __init__(
        self, model: Callable[[Any], Tensor], inputs: Inputs, chunk_size: int, module: nn.Module | None = None
    ) -> None:
        if chunk_size < 1:
            raise ValueError(f"chunk_size is {chunk_size}: at least 1 is needed")
        count = _length(inputs)
        if count == 0:
            raise ValueError("inputs hold no item: there is nothing to embed")
        self._model = model
        # Of nearly one size: a last chunk of one item would have no statistics of its own.
        number = -(-count // chunk_size)
        ends = [count * place // number for place in range(number + 1)]
        self._chunks = [_part(inputs, slice(*bounds)) for bounds in pairwise(ends)]
        self._module = model if module is None else module
        self._states, parts = [], []
        with torch.no_grad(), buffers_kept(self._module):
            for chunk in self._chunks:
                self._states.append(_random_state())
                parts.append(model(chunk).detach())
        self._lengths = [len(part) for part in parts]
        self.embeddings = torch.cat(parts).requires_grad_()

    def backward(
        self,
        apart: Callable[[], AbstractContextManager[Any]] = nullcontext,
        exchanged: Sequence[nn.Parameter] = (),
    ) -> None:
        """Embed each chunk again, with a graph, and send its gradient through it; nothing where there is none.

        Args:
            apart: a context for all chunks but the last one, in which processes do not exchange gradients.
            exchanged: parameters whose gradients processes exchange as soon as there are any, whatever the context: a
                wrapper that was called before is waiting for them. Those of all chunks but the last one are added
                past it.
        """
        if self.embeddings.grad is None:
            return
        gradients = self.embeddings.grad.split(self._lengths)  # type: ignore[no-untyped-call]
        after = _random_state()
        for index, (chunk, state, gradient) in enumerate(zip(self._chunks, self._states, gradients, strict=True)):
            _set_random_state(state)
            with nullcontext() if index == len(self._chunks) - 1 else apart():
                embeddings = self._model(chunk)
                # A network that computes its activations again on the way back does not count them twice.
                with buffers_kept(self._module):
                    if exchanged and index < len(self._chunks) - 1:
                        _add_gradients(embeddings, gradient, exchanged)
                    else:
                        torch.autograd.backward(embeddings, gradient)
        _set_random_state(after)


def _add_gradients(output: Tensor, gradient: Tensor, parameters: Sequence[nn.Parameter]) -> None:
    """Add to ``.grad`` of parameters what ``output.backward(gradient)`` would, without telling those who listen."""
    found = torch.autograd.grad(output, list(parameters), gradient, allow_unused=True)
    for parameter, part in zip(parameters, found, strict=True):
        if part is not None:
            parameter.grad = part if parameter.grad is None else parameter.grad + part


def _length(inputs: Inputs) -> int:
    lengths = {len(tensor) for tensor in _tensors(inputs)}
    if len(lengths) != 1:
        raise ValueError(f"inputs have parts of {sorted(lengths)} items: all must have as many")
    return lengths.pop()


def _tensors(inputs: Inputs) -> Iterator[Tensor]:
    if isinstance(inputs, Tensor):
        yield inputs
        return
    for part in inputs.values() if isinstance(inputs, Mapping) else inputs:
        yield from _tensors(part)


def _part(inputs: Inputs, rows: slice) -> Any:
    if isinstance(inputs, Tensor):
        return inputs[rows]
    if isinstance(inputs, Mapping):
        return {name: _part(part, rows) for name, part in inputs.items()}
    return [_part(part, rows) for part in inputs]


def _random_state() -> tuple[Tensor, list[Tensor]]:
    """Of the CPU, and of every GPU that is in use."""
    on_gpu = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if on_gpu else []


def _set_random_state(state: tuple[Tensor, list[Tensor]]) -> None:
    torch.set_rng_state(state[0])
    if state[1]:
        torch.cuda.set_rng_state_all(state[1])


@contextmanager
def buffers_kept(model: Any) -> Iterator[None]:
    """Put a module's buffers back as they were, such as the running statistics of batch normalisation."""
    kept = [(buffer, buffer.clone()) for buffer in model.buffers()] if isinstance(model, nn.Module) else []
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, before in kept:
                # Past autograd, which takes a buffer that changed for one whose gradient would be another: statistics
                # have no part in it.
                buffer.data.copy_(before)


def _not_synchronised(model: Any) -> AbstractContextManager[Any]:
    """Keep DistributedDataParallel from exchanging gradients that are not complete yet."""
    return model.no_sync() if hasattr(model, "no_sync") else nullcontext()
