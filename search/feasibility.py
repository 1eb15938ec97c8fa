# SPDX-License-Identifier: Apache-2.0
"""The least cost that a search space holds: a constraint below it cannot be met, however long the search."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

SWEEPS = 8
"""How often all selections are tried in turn at most; sums over independent blocks are settled after one."""


class Searched(Protocol):
    """What regularizers ask of a model under search; every method of ours is one."""

    @property
    def cost_specification(self) -> Any:
        """One cost, or a mapping from name to cost."""
        ...

    def get_cost(self, name: str | None = None) -> Tensor:
        """The cost as the model stands, differentiable."""
        ...

    def modules(self) -> Iterator[nn.Module]:
        """All modules."""
        ...

    def nas_parameters(self) -> Iterator[nn.Parameter]:
        """Masks and selections."""
        ...


def read_cost(model: Searched, name: str | None) -> Tensor:
    """The cost of that name; where the model has a single, unnamed cost, that one."""
    return model.get_cost(name if isinstance(model.cost_specification, Mapping) else None)


def least_cost(model: Searched, name: str | None = None) -> float:
    """The least value of a cost that this search can reach, in the cost's own unit.

    Every mask is taken to the least that keeps its layer alive, and every choice of precisions to its least. Then for
    each supernet module, in turn and until nothing changes, every branch is tried. That is exact for costs that are
    sums over blocks and fall with the precision, and an upper bound of the least cost otherwise (peak RAM, which is a
    maximum; cycles, where few bits may cost more).

    Args:
        model: the model under search; it is not touched.
        name: which of several costs.
    """
    copied = copy.deepcopy(model)  # a graph that waits for backward holds on to the parameters of the original
    for module in copied.modules():
        module.training = False  # eval mode: one branch each, binary masks
    choices = [module for module in copied.modules() if _is_choice(module)]
    selections = {id(module.alpha) for module in choices}
    with torch.no_grad():
        for parameter in copied.nas_parameters():
            if id(parameter) not in selections and parameter.requires_grad:
                parameter.zero_()
        for module in copied.modules():
            alpha = getattr(module, "alpha", None)
            if hasattr(module, "precisions") and isinstance(alpha, nn.Parameter) and alpha.requires_grad:
                _point(alpha, 0)
        least = float(read_cost(copied, name))
        for _ in range(SWEEPS):
            before = least
            for choice in choices:
                least = _settle(copied, name, choice)
            if least >= before:
                break
    return least


def _is_choice(module: nn.Module) -> bool:
    return isinstance(getattr(module, "branches", None), nn.ModuleList) and isinstance(
        getattr(module, "alpha", None), nn.Parameter
    )


def _settle(model: Searched, name: str | None, choice: nn.Module) -> float:
    """Point one selection at its cheapest branch, the others as they are; returns the cost then."""
    alpha = choice.alpha
    assert isinstance(alpha, nn.Parameter)
    if not alpha.requires_grad:
        return float(read_cost(model, name))
    costs = []
    for index in range(alpha.numel()):
        _point(alpha, index)
        costs.append(float(read_cost(model, name)))
    best = min(range(len(costs)), key=costs.__getitem__)
    _point(alpha, best)
    return costs[best]


def _point(alpha: nn.Parameter, index: int) -> None:
    alpha.zero_()
    alpha[index] = 1
