# SPDX-License-Identifier: Apache-2.0
"""The one definition of the integer arithmetic: interpreter, torch executor and generated C all compute this.

Two flavours of requantization exist; a network states which one it uses.

``hi32`` (ours)
    ``out = clamp((((sum << s) + bias) * m >> 32) + zero_point)``

    One 32 x 32 -> 64 bit product, arithmetic shift right, so a single SMMUL (Arm) or MULH (RISC-V). ``bias`` already
    holds the layer's bias, ``-zero_point_in * sum(w)`` and the rounding half, in units of the shifted sum. With ``s =
    0``, which is nearly always so, it is simply the value the accumulator starts from. Where the real scale is large
    (few, coarse products), ``s > 0`` keeps ``m`` below 2^31 and gives the rounding half fractional bits; the cost is
    one add with a shifted operand per output.

``tflite``
    Q31 multiplier and shift, single or double rounding, as TensorFlow Lite defines them
    (``MultiplyByQuantizedMultiplier`` in its ``kernels/internal/common``), for networks that must match it bit for bit.

All functions take and return numpy arrays of int64 that hold int32 values, so that nothing here can overflow unnoticed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

INT32_MIN = -(1 << 31)
INT32_MAX = (1 << 31) - 1

Int64Array = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

ROUNDING_BITS = 6
"""The rounding half is represented to within 2^-6 of one output code (as far as int32 has room)."""


def clamp(values: Int64Array, low: int, high: int) -> Int64Array:
    """Saturate to ``[low, high]``."""
    return np.clip(values, low, high)


def requantize_hi32(
    total: Int64Array, bias: Int64Array, multiplier: Int64Array, shift: int, zero_point: int, low: int, high: int
) -> Int64Array:
    """Requantize dot products the ``hi32`` way.

    Args:
        total: sums of products, int32 values, any shape; the last axis is the channel.
        bias: int32, broadcastable to ``total`` along the channel; in units of the shifted sum.
        multiplier: in ``(0, 2^31)``, broadcastable likewise.
        shift: left shift of ``total``, in ``[0, 31]``.
        zero_point: the output's.
        low: least output code.
        high: greatest output code.

    Returns:
        Output codes.
    """
    shifted = (total << shift) + bias
    return clamp(((shifted * multiplier) >> 32) + zero_point, low, high)


def requantize_tflite(
    accumulator: Int64Array,
    multiplier: Int64Array,
    shift: Int64Array,
    zero_point: int,
    low: int,
    high: int,
    *,
    double_rounding: bool,
) -> Int64Array:
    """Requantize accumulators (bias included) the TensorFlow Lite way.

    Args:
        accumulator: int32 values, the last axis is the channel.
        multiplier: Q31, broadcastable along the channel.
        shift: in ``[-31, 30]``, positive to the left, broadcastable likewise.
        zero_point: the output's.
        low: least output code.
        high: greatest output code.
        double_rounding: the older of TFLite's two definitions (CMSIS-NN's default).

    Returns:
        Output codes.
    """
    scaled = multiply_by_quantized_multiplier(accumulator, multiplier, shift, double_rounding=double_rounding)
    return clamp(scaled + zero_point, low, high)


def multiply_by_quantized_multiplier(
    values: Int64Array, multiplier: Int64Array, shift: Int64Array, *, double_rounding: bool
) -> Int64Array:
    """``values * multiplier * 2^(shift - 31)`` with TFLite's rounding.

    Double rounding: a doubling high multiply rounded half up, then a right shift rounded half away from zero. Single
    rounding: one right shift by ``31 - shift``, rounded half up.
    """
    shift = np.asarray(shift, dtype=np.int64)
    if not double_rounding:
        total = 31 - shift
        return (values * multiplier + (np.int64(1) << (total - 1))) >> total
    left = np.maximum(shift, 0)
    right = np.maximum(-shift, 0)
    high = _doubling_high_multiply(wrap_int32(values << left), multiplier)
    return _rounding_shift_right(high, right)


def wrap_int32(values: Int64Array) -> Int64Array:
    """Keep the low 32 bits as two's complement, as a C implementation with defined wrap-around would."""
    return ((values + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


def _doubling_high_multiply(values: Int64Array, multiplier: Int64Array) -> Int64Array:
    """High 32 bits of ``2 * values * multiplier``, half rounded up.

    TFLite nudges negative products by ``1 - 2^30`` and divides towards zero; that is the same integer as adding
    ``2^30`` and shifting arithmetically, for every product but exact negative ties, which both round up.
    """
    return (values * multiplier + (1 << 30)) >> 31


def _rounding_shift_right(values: Int64Array, shift: Int64Array) -> Int64Array:
    """Division by ``2^shift``, half rounded away from zero."""
    mask = (np.int64(1) << shift) - 1
    remainder = values & mask
    threshold = (mask >> 1) + (values < 0)
    return (values >> shift) + (remainder > threshold)


def add_rescaled(
    first: Int64Array, second: Int64Array, multipliers: tuple[int, int], shift: int, offset: int, low: int, high: int
) -> Int64Array:
    """Add two code tensors: ``clamp((first * m0 + second * m1 + offset) >> shift)``, rounded once."""
    return clamp((first * multipliers[0] + second * multipliers[1] + offset) >> shift, low, high)


def add_tflite(
    first: Int64Array,
    second: Int64Array,
    zero_points: tuple[int, int, int],
    left_shift: int,
    multipliers: tuple[int, int, int],
    shifts: tuple[int, int, int],
    low: int,
    high: int,
    *,
    double_rounding: bool,
) -> Int64Array:
    """TensorFlow Lite's add; ``zero_points``, ``multipliers`` and ``shifts`` are those of first, second and output."""

    def rescale(values: Int64Array, index: int) -> Int64Array:
        return multiply_by_quantized_multiplier(
            values,
            np.int64(multipliers[index]) * np.ones(1, dtype=np.int64),
            np.full(1, shifts[index], dtype=np.int64),
            double_rounding=double_rounding,
        )

    total = rescale((first - zero_points[0]) << left_shift, 0) + rescale((second - zero_points[1]) << left_shift, 1)
    return clamp(rescale(total, 2) + zero_points[2], low, high)


def average_tflite(total: Int64Array, count: Int64Array, low: int, high: int) -> Int64Array:
    """TensorFlow Lite's average: ``total / count``, half rounded away from zero."""
    half = count // 2
    quotient = np.where(total >= 0, (total + half) // count, -((-total + half) // count))
    return clamp(quotient, low, high)


@dataclass(frozen=True)
class Hi32Parameters:
    """What `choose_hi32` found: per-channel multipliers, one shift, and the rounding half in shifted units."""

    multiplier: npt.NDArray[np.int32]
    shift: int
    half: Int64Array


def choose_hi32(scale: FloatArray, peak: int) -> Hi32Parameters:
    """Multipliers and shift for real scales ``s_in * s_w / s_out``.

    ``m = round(scale * 2^(32 - shift))``, nearest. The shift is the least that keeps every ``m`` below 2^31 and,
    where int32 has room for it, represents the rounding half to `ROUNDING_BITS` fractional bits of the largest scale.

    Args:
        scale: real scales per channel, positive and finite.
        peak: greatest magnitude of any partial sum plus bias, in unshifted units (from `accumulator_range`).

    Returns:
        The parameters; ``half`` is to be added to the shifted bias.

    Raises:
        OverflowError: no shift keeps both the multiplier and the shifted sum within int32.
    """
    if not np.all(np.isfinite(scale)) or np.any(scale <= 0):
        raise OverflowError(f"scales must be positive and finite, got {scale.min()} to {scale.max()}")
    largest = float(scale.max())
    needed = max(0, math.floor(math.log2(largest)) + 2) if largest >= 0.5 else 0
    while round(largest * 2.0 ** (32 - needed)) >= 1 << 31:
        needed += 1
    # half = 0.5 / scale, an integer in shifted units: its error is at most half a unit, i.e. scale / 2^(shift + 1)
    # output codes. The shift costs an instruction per output, so it is only taken where the error without it would be
    # visible.
    wanted = max(needed, math.ceil(math.log2(largest)) + ROUNDING_BITS) if largest >= 0.25 else needed
    while wanted > needed and not _fits(peak, wanted, largest):
        wanted -= 1
    if wanted > 31 or not _fits(peak, wanted, largest):
        raise OverflowError(f"a partial sum of up to {peak} with a scale of {largest} does not fit 32 bits")
    multiplier = np.rint(scale * 2.0 ** (32 - wanted)).astype(np.int64)
    multiplier = np.clip(multiplier, 1, INT32_MAX)
    half = np.rint((1 << 31) / multiplier).astype(np.int64)
    # A channel whose scale is so small that its half would leave int32 always yields the zero point anyway.
    half = np.minimum(half, max(0, INT32_MAX - (peak << wanted)))
    return Hi32Parameters(multiplier.astype(np.int32), wanted, half)


def _fits(peak: int, shift: int, scale: float) -> bool:
    """Whether a partial sum up to ``peak``, shifted, plus the half of ``scale`` stays within int32."""
    half = math.ceil(0.5 / scale * (1 << shift)) + 1
    return (peak << shift) + half <= INT32_MAX


def choose_tflite(scale: FloatArray) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Q31 multiplier in ``[2^30, 2^31)`` and shift for real scales, as TFLite's ``QuantizeMultiplier`` does."""
    mantissa, exponent = np.frexp(scale)
    multiplier = np.rint(mantissa * (1 << 31)).astype(np.int64)
    carry = multiplier == 1 << 31
    multiplier = np.where(carry, 1 << 30, multiplier)
    exponent = np.where(carry, exponent + 1, exponent)
    tiny = exponent < -31
    multiplier = np.where(tiny, 0, multiplier)
    exponent = np.where(tiny, 0, exponent)
    return multiplier.astype(np.int32), exponent.astype(np.int32)


@dataclass(frozen=True)
class AddParameters:
    """What `choose_add` found; the fields of `network.AddRescale` without its clamp."""

    multipliers: tuple[int, int]
    shift: int
    offset: int


def choose_add(
    scales: tuple[float, float],
    zero_points: tuple[int, int],
    ranges: tuple[tuple[int, int], tuple[int, int]],
    out_scale: float,
    out_zero_point: int,
) -> AddParameters:
    """Integer form of ``(a - za) * sa / so + (b - zb) * sb / so + zo`` with one multiply per input and one rounding.

    Takes the largest shift, up to 22, whose products, partial sums and offset stay within int32 for all codes in
    ``ranges``.

    Args:
        scales: of the two inputs.
        zero_points: of the two inputs.
        ranges: least and greatest code of the two inputs.
        out_scale: of the output.
        out_zero_point: of the output.

    Raises:
        OverflowError: not even shift 0 fits, or a multiplier would round to 0.
    """
    ratios = (scales[0] / out_scale, scales[1] / out_scale)
    if ratios == (1.0, 1.0):
        return AddParameters((1, 1), 0, out_zero_point - zero_points[0] - zero_points[1])
    for shift in range(22, -1, -1):
        first, second = (round(ratio * (1 << shift)) for ratio in ratios)
        half = (1 << shift) >> 1
        offset = (out_zero_point << shift) + half - zero_points[0] * first - zero_points[1] * second
        if first > 0 and second > 0 and add_fits((first, second), offset, ranges):
            return AddParameters((first, second), shift, offset)
    raise OverflowError(f"scales {scales} cannot be added at scale {out_scale} within 32 bits")


def add_fits(multipliers: tuple[int, int], offset: int, ranges: tuple[tuple[int, int], tuple[int, int]]) -> bool:
    """Whether every order of adding the two products and the offset stays within int32, for all codes in ``ranges``."""
    low = high = 0
    for multiplier, (least, greatest) in zip(multipliers, ranges, strict=True):
        low += min(0, multiplier * least)
        high += max(0, multiplier * greatest)
    return low + min(0, offset) >= INT32_MIN and high + max(0, offset) <= INT32_MAX


def accumulator_range(
    weights: npt.NDArray[np.int8], bias: Int64Array, input_range: tuple[int, int]
) -> tuple[Int64Array, Int64Array]:
    """Least and greatest value that any partial sum of a channel can take, whatever the input and the order of adding.

    Args:
        weights: int8 codes ``(C_out, ...)``.
        bias: the value that the accumulator starts from, ``(C_out,)``; 0 where the bias is added later.
        input_range: least and greatest input code, padding included.

    Returns:
        Two arrays of ``C_out`` values; the proof is that they lie within int32.
    """
    flat = weights.reshape(weights.shape[0], -1).astype(np.int64)
    low, high = input_range
    products = np.stack((flat * low, flat * high))
    least = np.minimum(products.min(axis=0), 0).sum(axis=1)
    greatest = np.maximum(products.max(axis=0), 0).sum(axis=1)
    return bias + least, bias + greatest
