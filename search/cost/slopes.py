# SPDX-License-Identifier: Apache-2.0
"""Sums of numbers that bring their own slopes along.

A table prices a hundred uses of layers per step of a search, each a product of a few linear factors. As tensors that
makes thousands of operations on single numbers, forward and backward; as plain numbers with slopes it makes one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sloped:
    """A number, and how fast it grows with each of the tensors that it follows from.

    Attributes:
        value: the number.
        slopes: tensors of one element, each with the derivative of the number; the same one may come twice.
    """

    value: float
    slopes: tuple[tuple[Tensor, float], ...] = ()


@dataclass(frozen=True)
class SlopedFormula:
    """A formula that differentiates by itself; who calls it gets a tensor, as from any other.

    Attributes:
        slopes: from a spec to the cost and its slopes.
    """

    slopes: Callable[[Mapping[str, Any]], Sloped]

    def __call__(self, spec: Mapping[str, Any]) -> Tensor:
        """The cost as a 0-dim tensor, differentiable once."""
        total = Sum()
        total.add(self.slopes(spec), 1.0)
        return total.tensor()


class Sum:
    """What has been added up so far."""

    def __init__(self) -> None:
        self._value = 0.0
        self._slopes: dict[int, tuple[Tensor, float]] = {}
        self._rest: Tensor | None = None

    def add(self, part: Sloped | Tensor, weight: Tensor | float) -> None:
        """Add ``part * weight``."""
        if isinstance(part, Tensor):
            product = part * weight
            self._rest = product if self._rest is None else self._rest + product
            return
        factor = float(weight.detach()) if isinstance(weight, Tensor) else weight
        self._value += part.value * factor
        for tensor, slope in part.slopes:
            self._follow(tensor, slope * factor)
        if isinstance(weight, Tensor):
            self._follow(weight, part.value)

    def _follow(self, tensor: Tensor, slope: float) -> None:
        if tensor.requires_grad:
            known = self._slopes.get(id(tensor))
            self._slopes[id(tensor)] = (tensor, slope if known is None else known[1] + slope)

    def tensor(self) -> Tensor:
        """The sum, 0-dim, differentiable once in everything that it follows from."""
        if self._slopes:
            tensors, slopes = zip(*self._slopes.values(), strict=True)
            found: Tensor = _Linear.apply(self._value, slopes, *tensors)  # type: ignore[no-untyped-call]
        else:
            found = torch.tensor(self._value)
        return found if self._rest is None else found.to(self._rest.device) + self._rest


class _Linear(torch.autograd.Function):
    """A number as a function of tensors of one element."""

    @staticmethod
    def forward(ctx: Any, value: float, slopes: tuple[float, ...], *tensors: Tensor) -> Tensor:
        ctx.slopes, ctx.like = slopes, [tensor.detach() for tensor in tensors]
        return tensors[0].new_tensor(value)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        (grad,) = grad_outputs
        parts = (grad * grad.new_tensor(ctx.slopes)).unbind()
        return None, None, *(p.to(t).reshape(t.shape) for p, t in zip(parts, ctx.like, strict=True))
