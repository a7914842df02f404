"""GradCache: the exact gradient of a loss over a batch of any size, with the memory of a small one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
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
        chunk_size: items at a time.
        scaler: of automatic mixed precision with float16.

    Returns:
        The loss, without a graph.

    Raises:
        ValueError: there is nothing to embed, parts of the inputs differ in length, or ``chunk_size`` is below 1.
    """
    if chunk_size < 1:
        raise ValueError(f"chunk_size is {chunk_size}: at least 1 is needed")
    count = _length(inputs)
    if count == 0:
        raise ValueError("inputs hold no item: there is nothing to embed")
    chunks = [_part(inputs, slice(start, start + chunk_size)) for start in range(0, count, chunk_size)]
    states, parts = [], []
    with torch.no_grad(), _buffers_kept(model):
        for chunk in chunks:
            states.append(_random_state())
            parts.append(model(chunk).detach())
    embeddings = torch.cat(parts).requires_grad_()
    value = loss(embeddings)
    scaled = scaler.scale(value) if scaler is not None else value
    if not scaled.requires_grad:
        return value.detach()
    torch.autograd.backward(scaled)
    if embeddings.grad is None:
        return value.detach()
    gradients = embeddings.grad.split([len(part) for part in parts])  # type: ignore[no-untyped-call]
    after = _random_state()
    for index, (chunk, state, gradient) in enumerate(zip(chunks, states, gradients, strict=True)):
        _set_random_state(state)
        with nullcontext() if index == len(chunks) - 1 else _not_synchronised(model):
            torch.autograd.backward(model(chunk), gradient)
    _set_random_state(after)
    return value.detach()


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
def _buffers_kept(model: Any) -> Iterator[None]:
    """Put a module's buffers back as they were, such as the running statistics of batch normalisation."""
    kept = [(buffer, buffer.clone()) for buffer in model.buffers()] if isinstance(model, nn.Module) else []
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, before in kept:
                buffer.copy_(before)


def _not_synchronised(model: Any) -> AbstractContextManager[Any]:
    """Keep DistributedDataParallel from exchanging gradients that are not complete yet."""
    return model.no_sync() if hasattr(model, "no_sync") else nullcontext()
