# SPDX-License-Identifier: Apache-2.0
"""The mathematics of Winograd's method in integers, and the bounds that its words are chosen by."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plinio_deploy.codegen.dsp.blocks import IntArray, Sums
from plinio_deploy.codegen.dsp.winograd import (
    ORDER,
    Filters,
    Patch,
    constants,
    filters,
    filters_of,
    fits,
    transformed,
    weights,
)
from plinio_deploy.network import Conv, Hi32, Weights

B = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]])
A = np.array([[1, 1, 1, 0], [0, 1, -1, 1]])


def conv(codes: IntArray, bits: int = 8) -> Conv:
    count = len(codes)
    ones = np.ones(count, dtype=np.int32)
    packed = Weights(codes.astype(np.int8), (bits,) * count)
    return Conv("c", "x", "y", packed, ones * 5, Hi32(ones * 7, 0, (0, 255)))


def codes(low: int, high: int, shape: tuple[int, ...]) -> st.SearchStrategy[IntArray]:
    size = int(np.prod(shape))
    values = st.lists(st.one_of(st.sampled_from([low, high]), st.integers(low, high)), min_size=size, max_size=size)
    return values.map(lambda found: np.array(found, dtype=np.int64).reshape(shape))


@given(codes(-128, 127, (1, 3, 3, 1)), codes(-128, 255, (4, 4)))
def test_the_sum_is_exactly_four_times_that_of_the_convolution(filter_: IntArray, tile: IntArray) -> None:
    u = transformed(conv(filter_))[0, :, :, 0]
    v = B @ tile @ B.T
    sums = A @ (u * v) @ A.T
    direct = [[(tile[y : y + 3, x : x + 3] * filter_[0, :, :, 0]).sum() for x in range(2)] for y in range(2)]
    assert sums.tolist() == (4 * np.array(direct)).tolist()


@given(codes(-128, 127, (1, 3, 3, 1)), codes(0, 255, (4, 4)))
def test_transformed_weights_and_codes_fit_their_halves(filter_: IntArray, tile: IntArray) -> None:
    assert abs(transformed(conv(filter_))).max() <= 9 * 128
    assert abs(B @ tile @ B.T).max() <= 4 * 255


@pytest.mark.parametrize("channels", [1, 3, 4, 6])
def test_words_hold_what_the_micro_kernel_reads(channels: int) -> None:
    rng = np.random.default_rng(channels)
    op = conv(rng.integers(-128, 128, (6, 3, 3, channels)))
    patch = Patch(channels, signed=False)
    words = np.array(weights(op, patch).values).reshape(2, 16, patch.pairs, 4)
    assert words.size == 2 * patch.block_words
    flat = transformed(op)
    for channel, place, c in np.ndindex(8, 16, patch.pixel_bytes):
        pair, half = c // 4 * 2 + c % 2, c // 2 % 2
        got = int(words[channel // 4, place, pair, channel % 4]) >> (16 * half) & 0xFFFF
        exists = channel < 6 and c < channels
        expected = flat[channel, ORDER[place // 4], ORDER[place % 4], c] if exists else 0
        assert got == int(expected) & 0xFFFF


def test_sums_have_to_fit_with_their_scale() -> None:
    def sums(low: int, high: int) -> Sums:
        one = np.ones(1, dtype=np.int64)
        return Sums(one, one * low, one * high, one, 0)

    assert fits(sums(-(1 << 29), (1 << 29) - 1), 2)
    assert not fits(sums(0, 1 << 29), 2)
    assert not fits(sums(-(1 << 29) - 1, 0), 2)


def test_constants_come_in_blocks_of_four() -> None:
    one = np.ones(6, dtype=np.int64)
    found = Sums(one, one, one, one * 7, 0)
    values = constants(conv(np.zeros((6, 3, 3, 4), dtype=np.int64)), found, 2).values
    assert values == (20, 20, 20, 20, 7, 7, 7, 7, 20, 20, 0, 0, 7, 7, 0, 0)


@pytest.mark.parametrize(
    ("bits", "channels", "kept"),
    [
        (8, 3, Filters(8, 1)),
        (8, 8, Filters(8, 2)),
        (4, 8, Filters(4, 1)),
        (4, 12, Filters(8, 3)),
        (2, 16, Filters(2, 1)),
    ],
)
def test_weights_are_kept_in_the_bits_they_have_where_that_comes_out_even(
    bits: int, channels: int, kept: Filters
) -> None:
    rng = np.random.default_rng(channels)
    low = -(1 << (bits - 1))
    op = conv(rng.integers(low, -low, (5, 3, 3, channels)), bits)
    assert filters_of(op) == kept
    assert kept.scale == 10 - kept.bits
    words = np.array(filters(op, kept).values).reshape(2, kept.groups, 4, 9)
    for row, tap, c in np.ndindex(8, 9, 4 * kept.digits * kept.groups):
        group, rest = divmod(c, 4 * kept.digits)
        digit, byte = divmod(rest, 4)
        got = int(words[row // 4, group, row % 4, tap]) >> (8 * byte + kept.bits * digit) & ((1 << kept.bits) - 1)
        code = int(op.weights.codes[row, tap // 3, tap % 3, c]) if row < 5 and c < channels else 0
        assert got == code & ((1 << kept.bits) - 1)
