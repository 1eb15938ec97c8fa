# SPDX-License-Identifier: Apache-2.0
"""Which packing is chosen for which weights, and that it holds what was packed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plinio_deploy.codegen.dsp.blocks import (
    CHAIN2,
    CHAIN4,
    DIGIT8,
    FEW,
    MAX_RUNS,
    RAW2,
    RAW8,
    WIDE4,
    WIDE8,
    Variant,
    arrays,
    runs,
    sums,
)
from plinio_deploy.codegen.dsp.columns import columns
from plinio_deploy.network import Hi32, Linear, Tensor, Weights

U8 = Tensor("x", (1,), 8, False, 1.0, 0)


def linear(rows: Sequence[Sequence[int]], bits: int, bias: int = 0) -> Linear:
    codes = np.array(rows, dtype=np.int8)
    ones = np.ones(len(codes), dtype=np.int32)
    return Linear("l", "x", "y", Weights(codes, (bits,) * len(codes)), ones * bias, Hi32(ones, 0, (0, 255)))


def chosen(op: Linear) -> Variant | None:
    found = runs(op, sums(op, U8))
    return None if found is None else found[0].variant


@pytest.mark.parametrize(
    ("pattern", "length", "bits", "bias", "variant"),
    [
        ((5, -3), 8, 8, 0, RAW8),
        ((-128, 127), 8, 8, 0, DIGIT8),  # -128 above a negative weight borrows from nowhere
        ((127, 127), 400, 8, 0, WIDE8),  # 400 * 127 * 255 takes 24 bits and a sign
        ((5, -3), 8, 8, 1 << 24, WIDE8),
        ((7, -8), FEW, 4, 0, RAW8),  # packed as if of 8 bits
        ((7, -8), FEW + 1, 4, 0, CHAIN4),
        ((-8, -8), 257, 4, 0, CHAIN4),  # 257 * 8 * 255 < 2^19
        ((-8, -8), 258, 4, 0, WIDE4),
        ((7, 7), 400, 4, 0, WIDE4),
        ((1, -2), 40, 2, 0, CHAIN2),
        ((-2, -2), 1029, 2, 0, RAW2),
        ((1, -2), 40, 2, 1 << 26, None),
    ],
)
def test_the_fastest_packing_that_holds_the_sums(
    pattern: tuple[int, int], length: int, bits: int, bias: int, variant: Variant | None
) -> None:
    rows = [[pattern[(row + k) % 2] for k in range(length)] for row in range(4)]
    if pattern == (-128, 127):
        rows = [[-1] * length, [-128] * length, [1] * length, [2] * length]
    assert chosen(linear(rows, bits, bias)) is variant


@given(st.lists(st.lists(st.integers(-127, 127), min_size=4, max_size=4), min_size=4, max_size=4))
def test_a_half_of_a_word_is_the_sum_of_two_channels(rows: list[list[int]]) -> None:
    op = linear(rows, 8)
    layout = columns(op, Tensor("x", (4,), 8, False, 1.0, 0))
    found = sums(op, U8)
    parts = runs(op, found)
    assert parts is not None
    words = arrays(op, layout, found, parts, (0, 0))[0].values[parts[0].ahead :]
    assert len(words) == 2 * layout.words
    for index, (low, high) in enumerate(layout.order(4)):
        for pair in (0, 1):
            word = words[2 * index + pair]
            for half, place in ((word & 0xFFFF, low), (word >> 16, high)):
                signed = half - (half >> 15 << 16)
                assert signed == rows[2 * pair][place] + 256 * rows[2 * pair + 1][place]


@given(st.lists(st.sampled_from([2, 4, 8]), min_size=1, max_size=80))
def test_runs_have_whole_blocks_and_hold_every_channel(bits: list[int]) -> None:
    codes = np.ones((len(bits), FEW + 1), dtype=np.int8)
    ones = np.ones(len(bits), dtype=np.int32)
    op = Linear("l", "x", "y", Weights(codes, tuple(bits)), ones, Hi32(ones, 0, (0, 255)))
    found = runs(op, sums(op, U8))
    assert found is not None
    assert len(found) <= MAX_RUNS
    assert [run.first for run in found] == [sum(r.channels for r in found[:i]) for i in range(len(found))]
    assert sum(run.channels for run in found) == len(bits)
    assert all(run.rest == 0 for run in found[:-1])
    for run in found:
        assert run.variant.bits >= max(bits[run.first : run.first + run.channels])
