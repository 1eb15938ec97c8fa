# SPDX-License-Identifier: Apache-2.0
"""The arithmetic against unbounded Python integers and exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from plinio_deploy import fixedpoint

INT32 = st.integers(fixedpoint.INT32_MIN, fixedpoint.INT32_MAX)
CODE_RANGES = st.sampled_from([(0, 3), (0, 15), (0, 255), (-2, 1), (-8, 7), (-128, 127)])


def column(*values: int) -> fixedpoint.Int64Array:
    return np.array(values, dtype=np.int64)


def round_half_away(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2)) if value >= 0 else -math.floor(-value + Fraction(1, 2))


@given(
    total=st.integers(-(2**20), 2**20),
    shift=st.integers(0, 8),
    bias=st.integers(-(2**28), 2**28),
    multiplier=st.integers(1, 2**31 - 1),
    zero_point=st.integers(-128, 255),
)
def test_hi32_is_the_formula_on_unbounded_integers(
    total: int, shift: int, bias: int, multiplier: int, zero_point: int
) -> None:
    expected = ((total * 2**shift + bias) * multiplier) // 2**32 + zero_point
    got = fixedpoint.requantize_hi32(column(total), column(bias), column(multiplier), shift, zero_point, -128, 255)
    assert got[0] == min(max(expected, -128), 255)


@given(value=INT32, multiplier=st.integers(2**30, 2**31 - 1), shift=st.integers(-31, 30))
def test_tflite_single_rounding_rounds_the_exact_product_half_up(value: int, multiplier: int, shift: int) -> None:
    value >>= max(shift, 0)
    exact = Fraction(value * multiplier) * Fraction(2) ** (shift - 31)
    got = fixedpoint.multiply_by_quantized_multiplier(
        column(value), column(multiplier), column(shift), double_rounding=False
    )
    assert got[0] == math.floor(exact + Fraction(1, 2))


@given(value=INT32, multiplier=st.integers(2**30, 2**31 - 1), shift=st.integers(-31, 30))
def test_tflite_double_rounding_is_two_roundings(value: int, multiplier: int, shift: int) -> None:
    value >>= max(shift, 0)
    high = math.floor(Fraction(value * 2 ** max(shift, 0) * multiplier, 2**31) + Fraction(1, 2))
    expected = round_half_away(Fraction(high, 2 ** max(-shift, 0)))
    got = fixedpoint.multiply_by_quantized_multiplier(
        column(value), column(multiplier), column(shift), double_rounding=True
    )
    assert got[0] == expected


@pytest.mark.parametrize(
    ("value", "multiplier"),
    [(-1, 2**30), (-1, 2**30 + 1), (-1, 2**30 - 1), (-3, 2**30), (1, 2**30), (1, 2**30 - 1), (-5, 2**31 - 1)],
)
def test_tflite_double_rounding_matches_its_published_definition_at_ties(value: int, multiplier: int) -> None:
    # C++: (ab + nudge) / 2^31 towards zero, nudge = ab >= 0 ? 2^30 : 1 - 2^30.
    product = value * multiplier
    nudge = 2**30 if product >= 0 else 1 - 2**30
    got = fixedpoint.multiply_by_quantized_multiplier(
        column(value), column(multiplier), column(0), double_rounding=True
    )
    assert got[0] == math.trunc(Fraction(product + nudge, 2**31))


@given(
    scale=st.lists(st.floats(2.0**-20, 8.0), min_size=1, max_size=4),
    peak=st.integers(1, 2**20),
    fraction=st.floats(-1, 1),
)
def test_chosen_hi32_parameters_round_to_within_one_code(scale: list[float], peak: int, fraction: float) -> None:
    scales = np.array(scale)
    chosen = fixedpoint.choose_hi32(scales, peak)
    total = int(peak * fraction)
    bound = (peak << chosen.shift) + int(chosen.half.max())
    assert bound <= fixedpoint.INT32_MAX
    got = fixedpoint.requantize_hi32(
        column(total), chosen.half, chosen.multiplier.astype(np.int64), chosen.shift, 0, -(2**31), 2**31
    )
    for index, real in enumerate(scales):
        # Slack: the multiplier is rounded to 32 bits, the half to one unit of the shifted sum.
        slack = 1.0 + abs(total) * 2.0**-32 + float(real) * 2.0**-chosen.shift
        assert abs(int(got[index]) - total * float(real)) <= slack


@given(scale=st.floats(2.0**-16, 4.0), total=st.integers(-5000, 5000))
def test_chosen_hi32_rounds_to_nearest_away_from_ties(scale: float, total: int) -> None:
    chosen = fixedpoint.choose_hi32(np.array([scale]), 5000)
    exact = total * scale
    # Near a tie either neighbour is right.
    assume(abs(exact - math.floor(exact) - 0.5) >= 2.0 ** -(fixedpoint.ROUNDING_BITS - 4))
    got = fixedpoint.requantize_hi32(
        column(total), chosen.half, chosen.multiplier.astype(np.int64), chosen.shift, 0, -(2**31), 2**31
    )
    assert got[0] == math.floor(exact + 0.5)


@pytest.mark.parametrize("scale", [1e-9, 0.0001, 0.003, 0.2499])
def test_small_scales_need_no_shift(scale: float) -> None:
    assert fixedpoint.choose_hi32(np.array([scale]), 2**20).shift == 0


def test_scales_that_cannot_fit_are_refused() -> None:
    with pytest.raises(OverflowError, match="does not fit 32 bits"):
        fixedpoint.choose_hi32(np.array([3.0]), 2**30)
    with pytest.raises(OverflowError, match="positive and finite"):
        fixedpoint.choose_hi32(np.array([0.0]), 1)


@given(scale=st.floats(2.0**-30, 2.0**20))
def test_tflite_multiplier_is_normalised_and_near(scale: float) -> None:
    multiplier, shift = fixedpoint.choose_tflite(np.array([scale]))
    assert 2**30 <= multiplier[0] < 2**31
    assert abs(float(multiplier[0]) * 2.0 ** (float(shift[0]) - 31) / scale - 1) < 2.0**-30


@given(
    scales=st.tuples(st.floats(1e-4, 10), st.floats(1e-4, 10)),
    out_scale=st.floats(1e-3, 10),
    ranges=st.tuples(CODE_RANGES, CODE_RANGES),
    data=st.data(),
)
def test_add_is_within_one_code_of_the_real_sum(
    scales: tuple[float, float],
    out_scale: float,
    ranges: tuple[tuple[int, int], tuple[int, int]],
    data: st.DataObject,
) -> None:
    first, second = (data.draw(st.integers(*bounds)) for bounds in ranges)
    zero_points = tuple(data.draw(st.integers(*bounds)) for bounds in ranges)
    out_zero = data.draw(st.integers(-128, 127))
    assert len(zero_points) == 2
    try:
        chosen = fixedpoint.choose_add(scales, zero_points, ranges, out_scale, out_zero)
    except OverflowError:
        assert max(scales) / out_scale > 2.0**10 or min(scales) / out_scale < 2.0**-8
        return
    got = fixedpoint.add_rescaled(
        column(first), column(second), chosen.multipliers, chosen.shift, chosen.offset, -(2**31), 2**31
    )
    exact = (first - zero_points[0]) * scales[0] / out_scale + (second - zero_points[1]) * scales[1] / out_scale
    slack = 0.5 + (256 + 256) * 0.5 / 2**chosen.shift + 1e-6
    assert abs(int(got[0]) - (exact + out_zero)) <= slack


def test_add_of_one_quantizer_needs_no_multiply() -> None:
    chosen = fixedpoint.choose_add((0.1, 0.1), (3, 3), ((0, 255), (0, 255)), 0.1, 3)
    assert (chosen.multipliers, chosen.shift, chosen.offset) == ((1, 1), 0, -3)


@given(total=st.integers(-(2**20), 2**20), count=st.integers(1, 64))
def test_tflite_average_rounds_half_away(total: int, count: int) -> None:
    got = fixedpoint.average_tflite(column(total), column(count), -(2**31), 2**31)
    assert got[0] == round_half_away(Fraction(total, count))


@given(
    weights=st.lists(st.integers(-128, 127), min_size=1, max_size=6),
    bias=st.integers(-1000, 1000),
    bounds=CODE_RANGES,
    data=st.data(),
)
def test_no_input_and_no_order_leaves_the_proven_range(
    weights: list[int], bias: int, bounds: tuple[int, int], data: st.DataObject
) -> None:
    low, high = fixedpoint.accumulator_range(np.array([weights], dtype=np.int8), column(bias), bounds)
    inputs = data.draw(st.lists(st.integers(*bounds), min_size=len(weights), max_size=len(weights)))
    order = data.draw(st.permutations(range(len(weights))))
    partial = bias
    for index in order:
        partial += weights[index] * inputs[index]
        assert low[0] <= partial <= high[0]


def test_the_range_is_reached() -> None:
    low, high = fixedpoint.accumulator_range(np.array([[3, -2]], dtype=np.int8), column(5), (0, 10))
    assert (low[0], high[0]) == (5 - 20, 5 + 30)
