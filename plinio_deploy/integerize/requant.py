# SPDX-License-Identifier: Apache-2.0
"""Multiplier, shift and bias of an op, from its real scale and bias."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from plinio_deploy.fixedpoint import INT32_MAX, INT32_MIN, choose_hi32

MOST = 1 / 64
"""Of a code, by which biases of 16 bits may move an output."""


def _coarseness(*biases: npt.NDArray[np.float64]) -> int:
    """The least power of two of which multiples fit 16 bits in units of it, once rounded."""
    greatest, unit = max(float(np.abs(values).max()) for values in biases), 1
    while greatest + unit / 2 >= unit << 15:
        unit *= 2
    return unit


@dataclass(frozen=True, eq=False)
class RequantParameters:
    """What goes into an op: per-channel multiplier and bias (int32), and the shift of the sum."""

    multiplier: npt.NDArray[np.int32]
    shift: int
    bias: npt.NDArray[np.int32]


def requant_parameters(
    scale: npt.NDArray[np.float64],
    bias: npt.NDArray[np.float64],
    correction: npt.NDArray[np.int64],
    peak: int,
    moved: npt.NDArray[np.int64] | None = None,
) -> RequantParameters:
    """Integer form of ``(sum + correction + bias) * scale``, rounded to nearest.

    Bias and rounding half are rounded once, together: two roundings would move thresholds by up to a whole unit.

    Args:
        scale: output codes per unit of the sum, per channel.
        bias: real, in units of the sum, per channel.
        correction: what the input's zero point adds to the sum, per channel.
        peak: greatest magnitude of any partial sum, bias and correction left out.
        moved: asks for biases of 16 significant bits where all channels have one scale: rounded to a power of two, in
            units of which they fit 16 bits; so do they with these numbers added (what kernels add that count
            codes from the least one). Left as they are where an output could move by more than `MOST` codes.

    Raises:
        OverflowError: no choice keeps everything within int32.
    """
    largest_bias = float(np.abs(bias).max()) + float(np.abs(correction).max())
    if largest_bias > INT32_MAX:
        raise OverflowError(f"a bias of {largest_bias:.3g} units of the sum")
    chosen = choose_hi32(scale, peak + int(np.ceil(largest_bias)))
    unit = float(1 << chosen.shift)
    half = np.minimum((1 << 31) / chosen.multiplier.astype(np.float64), chosen.half + 0.5)
    whole = np.rint(bias * unit + half) + correction.astype(np.float64) * unit
    if moved is not None and chosen.shift == 0 and (chosen.multiplier == chosen.multiplier[0]).all():
        coarse = _coarseness(whole, whole + moved)
        if coarse * float(chosen.multiplier.max()) / (1 << 33) <= MOST:
            whole = np.rint((bias + half + correction) / coarse) * coarse
    if whole.min() < INT32_MIN or whole.max() > INT32_MAX:
        raise OverflowError(f"a bias of {np.abs(whole).max():.3g} units of the shifted sum")
    return RequantParameters(chosen.multiplier, chosen.shift, whole.astype(np.int32))
