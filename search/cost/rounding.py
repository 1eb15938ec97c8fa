# SPDX-License-Identifier: Apache-2.0
"""Rounded quotients with a useful slope.

Hardware works in blocks: a model counts ``ceil(channels / 16)``. Its true derivative is zero almost everywhere and
would stop the search, so the backward pass takes the quotient without rounding (straight-through: slope ``1 / n``, the
average slope of the staircase).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from plinio_deploy.search.cost.evaluate import Number


def ceil_div(a: Number, n: float) -> Number:
    """``ceil(a / n)``, straight-through."""
    if not isinstance(a, Tensor):
        return float(math.ceil(a / n))
    quotient = a / n
    return quotient + (torch.ceil(quotient) - quotient).detach()


def floor_div(a: Number, n: float) -> Number:
    """``floor(a / n)``, straight-through."""
    if not isinstance(a, Tensor):
        return float(math.floor(a / n))
    quotient = a / n
    return quotient + (torch.floor(quotient) - quotient).detach()


def round_up(a: Number, n: int) -> Number:
    """The next multiple of ``n``, straight-through."""
    return ceil_div(a, n) * n


def present(a: Number) -> Number:
    """What is done once if there is anything at all: 1 where ``a >= 1``, 0 where ``a`` is 0, and ``a`` in between.

    A step from 0 to 1 would let a search come to rest right below it, with almost one channel that seems free.
    """
    if not isinstance(a, Tensor):
        return min(max(float(a), 0.0), 1.0)
    return a.clamp(0.0, 1.0)


def value(a: Number) -> float:
    """The number itself, without gradient, for decisions."""
    return float(a.detach()) if isinstance(a, Tensor) else float(a)
