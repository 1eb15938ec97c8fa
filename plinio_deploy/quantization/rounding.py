# SPDX-License-Identifier: Apache-2.0
"""What the integer network's constants round to, seen from the float side.

The chip adds one integer to each sum before it multiplies: the bias and the rounding half together, rounded once. If
the fake-quantized network added the unrounded bias instead, codes would differ by one wherever a sum falls between
the two thresholds (up to ``scale / 4`` of all outputs). So the float side adds the number that the integer stands
for.

One sum lies exactly on a threshold whatever the scale: the one that is 0 with everything added, between the codes -1
and 0. The chip rounds it up; a nudge, no larger than what float32 gets wrong anyway, makes the float side do so too.
A nudge also rounds up what lies this close below any other threshold, and is most of what float32 gets wrong. So there
is none where a ReLU follows, which leaves no such threshold, nor where a unit of the sum is so small a part of a code
that hardly any sum falls on it.

All that is for training. In eval mode without gradients `sums_of_the_chip` leaves nothing to luck.
"""

from __future__ import annotations

import torch
from torch import Tensor

from plinio_deploy.fixedpoint import ROUNDING_BITS

NUDGE = 2.0**-23
"""As a part of the output's range of codes."""


TIE = 2.0**-34
"""Output codes. The chip floors multiples of 2^-32 of a code: so much more never takes another sum over a threshold."""


def least_nudged(bits: int) -> float:
    """Output codes per unit of the sum below which a nudge does more harm than good.

    A share ``scale / (2 sigma)`` or so of all sums falls on the threshold, if their deviation is ``sigma`` codes (a
    sixth of the range, say); a nudge of ``NUDGE * 2^bits`` codes moves that share of all codes.
    """
    return NUDGE * 4.0**bits / 2


def preferred_shift(largest: Tensor) -> Tensor:
    """`fixedpoint.choose_hi32`'s shift where int32 has room for it, on the device; ``largest`` is the largest scale."""
    exponent = torch.log2(largest)
    needed = torch.where(largest >= 0.5, torch.clamp(torch.floor(exponent) + 2, min=0.0), 0.0)
    return torch.where(largest >= 0.25, torch.maximum(needed, torch.ceil(exponent) + ROUNDING_BITS), needed)


def representable_bias(bias: Tensor, unit: Tensor, scale: Tensor, bits: int = 8, *, nudged: bool = True) -> Tensor:
    """The bias that the integer network will add.

    Args:
        bias: real, ``(C,)`` or a scalar.
        unit: real value of one unit of the sum, broadcastable to ``bias``.
        scale: output codes per unit of the sum, broadcastable to ``bias``.
        bits: width of the output.
        nudged: whether the output tells the codes -1 and 0 apart, or has other sums on its thresholds.

    Returns:
        Real numbers of ``bias``'s shape and type, without gradient.
    """
    with torch.no_grad():
        scale64 = scale.double()
        whole, ratio = _constants(bias, unit, scale64)
        rounded: Tensor = whole - 0.5 / ratio
        if nudged:
            rounded = rounded + torch.where(scale64 < least_nudged(bits), 0.0, NUDGE * 2**bits / scale64)
        return (rounded * unit.double()).to(bias)


def sums_of_the_chip(sums: Tensor, bias: Tensor, unit: Tensor, step: Tensor) -> Tensor:
    """What the chip rounds to codes, as real numbers that round to the same codes here: half to even, in float64.

    Args:
        sums: of products of codes, ``(N, ..., C)``, exact.
        bias: real, ``(C,)``.
        unit: real value of one unit of the sum, ``(C,)``.
        step: of the output, 0-dim.
    """
    whole, ratio = _constants(bias, unit, unit.double() / step.double())
    codes = (sums.double() + whole) * ratio - (0.5 - TIE)
    return codes * step.double()


def _constants(bias: Tensor, unit: Tensor, scale64: Tensor) -> tuple[Tensor, Tensor]:
    """What the chip adds to a sum, rounding half included, in its units; and codes per unit by its multiplier."""
    step = torch.exp2(-preferred_shift(scale64.max()))
    multiplier = torch.clamp(torch.round(scale64 * step * 2.0**32), min=1.0)
    ratio = multiplier / (step * 2.0**32)
    # Half a code as the chip has it: 0.5 / scale but for the multiplier's rounding.
    codes = bias.double() / unit.double() + 0.5 / ratio
    return torch.round(codes / step) * step, ratio
