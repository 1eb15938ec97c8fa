# SPDX-License-Identifier: Apache-2.0
"""What the integer network's constants round to, seen from the float side.

The chip adds one integer to each sum before it multiplies: the bias and the rounding half together, rounded once. If
the fake-quantized network added the unrounded bias instead, codes would differ by one wherever a sum falls between the
two thresholds (up to ``scale / 4`` of all outputs). So the float side adds the very number that the integer stands for.
"""

from __future__ import annotations

import torch
from torch import Tensor

from plinio_deploy.fixedpoint import ROUNDING_BITS


def preferred_shift(largest: Tensor) -> Tensor:
    """`fixedpoint.choose_hi32`'s shift where int32 has room for it, on the device; ``largest`` is the largest scale."""
    exponent = torch.log2(largest)
    needed = torch.where(largest >= 0.5, torch.clamp(torch.floor(exponent) + 2, min=0.0), 0.0)
    return torch.where(largest >= 0.25, torch.maximum(needed, torch.ceil(exponent) + ROUNDING_BITS), needed)


def representable_bias(bias: Tensor, unit: Tensor, scale: Tensor) -> Tensor:
    """The bias that the integer network will add.

    Args:
        bias: real, ``(C,)`` or a scalar.
        unit: real value of one unit of the sum, broadcastable to ``bias``.
        scale: output codes per unit of the sum, broadcastable to ``bias``.

    Returns:
        Real numbers of ``bias``'s shape and type, without gradient.
    """
    with torch.no_grad():
        scale64 = scale.double()
        step = torch.exp2(-preferred_shift(scale64.max()))
        half = 0.5 / scale64
        codes = bias.double() / unit.double() + half
        return ((torch.round(codes / step) * step - half) * unit.double()).to(bias)
