# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plinio_deploy.codegen.pack import unit_of
from plinio_deploy.fixedpoint import INT32_MAX, INT32_MIN, requantize_hi32
from plinio_deploy.integerize.requant import MOST, requant_parameters

NONE = np.zeros(1, dtype=np.int64)


@given(st.floats(1e-7, 8.0), st.integers(-(2**15), 2**15), st.floats(-1e5, 1e5), st.integers(-1000, 1000))
def test_within_half_a_code_of_the_real_number(scale: float, total: int, bias: float, correction: int) -> None:
    found = requant_parameters(np.array([scale]), np.array([bias]), np.array([correction]), 2**15)
    codes = requantize_hi32(
        np.array([total]),
        found.bias.astype(np.int64),
        found.multiplier.astype(np.int64),
        found.shift,
        0,
        -(2**40),
        2**40,
    )
    real = (total + correction + bias) * scale
    # Half a code, plus what bias and multiplier are off by: half a unit of the shifted sum, 2^-28 of the product.
    slack = 0.5 + 0.5 * scale / (1 << found.shift) + abs(real) * 2.0**-26 + 1e-6
    assert abs(int(codes[0]) - real) <= slack


@given(st.floats(1e-9, 4.0), st.floats(-1e9, 1e9))
def test_constants_are_int32_or_refused(scale: float, bias: float) -> None:
    try:
        found = requant_parameters(np.array([scale]), np.array([bias]), NONE, 1000)
    except OverflowError:
        assert abs(bias) * max(scale, 1) > 1e6 or abs(bias) > 1e8
        return
    assert 0 < int(found.multiplier[0]) <= INT32_MAX
    assert (1000 << found.shift) + abs(int(found.bias[0])) <= INT32_MAX or int(found.bias[0]) < 0
    assert int(found.bias[0]) - (1000 << found.shift) >= INT32_MIN


def test_bias_and_half_are_rounded_together() -> None:
    # half = 0.5 / 0.01 = 50; 0.4 + 50.4 would be 50 + 50 rounded apart.
    scale = 0.5 / 50.4
    found = requant_parameters(np.array([scale]), np.array([0.4]), NONE, 1000)
    assert found.bias.tolist() == [51]


def test_small_scales_need_no_shift() -> None:
    assert requant_parameters(np.array([0.2, 0.001]), np.zeros(2), np.zeros(2, dtype=np.int64), 10_000).shift == 0


@pytest.mark.parametrize("bias", [1e10, -1e10])
def test_what_does_not_fit_is_refused(bias: float) -> None:
    with pytest.raises(OverflowError):
        requant_parameters(np.array([0.01]), np.array([bias]), NONE, 1000)


@given(
    st.floats(1e-6, 0.1),
    st.lists(st.floats(-1e7, 1e7), min_size=1, max_size=5),
    st.integers(-(2**13), 2**13),
)
def test_short_biases_have_sixteen_significant_bits_and_move_little(scale: float, bias: list[float], by: int) -> None:
    size, moved = len(bias), np.full(len(bias), 128 * by)
    given_ = (np.full(size, scale), np.array(bias), np.zeros(size, dtype=np.int64), 1000)
    plain, short = requant_parameters(*given_), requant_parameters(*given_, moved)
    off = np.abs(plain.bias.astype(np.int64) - short.bias)
    assert float(off.max()) * scale <= MOST + scale
    assert np.array_equal(short.multiplier, plain.multiplier)
    unit = unit_of(short.bias.tolist())
    if unit is None:
        assert np.array_equal(short.bias, plain.bias)
    elif unit <= 128 and np.abs(short.bias).max() >= np.abs(moved).max():
        assert unit_of((short.bias + moved).tolist()) is not None or np.array_equal(short.bias, plain.bias)
