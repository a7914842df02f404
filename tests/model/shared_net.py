"""A tiny network of three tasks on shared weights, and its Jacobian by hand."""

import torch
from torch import nn

from triune.model.conflicts import SharedAndRest

TASKS = ("classification", "segmentation", "triplet")


class SharedNet(nn.Module):
    """Two shared layers, a head a task; in float64."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.shared = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4))
        self.heads = nn.ModuleList(nn.Linear(4, 1) for _ in TASKS)
        self.x = torch.randn(7, 3, dtype=torch.float64)
        self.y = torch.randn(3, 7, 1, dtype=torch.float64)
        self.double()

    def terms(self, without=()):
        """The three squared errors; a task of ``without`` has nothing to learn, but a graph."""
        h = self.shared(self.x)
        found = {t: (head(h) - y).square().mean() for t, head, y in zip(TASKS, self.heads, self.y, strict=True)}
        return {task: each * 0 if task in without else each for task, each in found.items()}

    @property
    def weights(self):
        return SharedAndRest(list(self.shared.parameters()), list(self.heads.parameters()))

    def jacobian(self, without=(), of=None):
        """The gradient of each task in a backward pass of its own, as rows."""
        parameters = list((of or self.shared).parameters())
        rows = []
        for task in TASKS:
            self.zero_grad()
            self.terms(without)[task].backward()
            rows.append(torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters]))
        self.zero_grad()
        return torch.stack(rows)

    def gradient(self, of):
        """The gradients that a backward pass left, as one row."""
        return torch.cat([p.grad.flatten() for p in of.parameters()])
