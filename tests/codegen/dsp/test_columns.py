# SPDX-License-Identifier: Apache-2.0
"""The order of a patch: every product once, whatever the width, the taps and the channels."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from plinio_deploy.codegen.dsp.columns import columns
from plinio_deploy.network import Conv, Hi32, Tensor, Weights

ONES = np.ones(1, dtype=np.int32)


def conv(kernel: tuple[int, int], channels: int, dilation: int) -> Conv:
    weights = Weights(np.zeros((1, *kernel, channels), dtype=np.int8), (8,))
    return Conv("c", "x", "y", weights, ONES, Hi32(ONES, 0, (0, 255)), dilation=(1, dilation))


@given(
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.integers(1, 13),
    st.integers(1, 2),
    st.sampled_from([2, 4, 8]),
    st.sampled_from([2, 4]),
)
def test_every_code_of_a_patch_has_one_place(
    kernel: tuple[int, int], channels: int, dilation: int, bits: int, multiple: int
) -> None:
    layout = columns(conv(kernel, channels, dilation), Tensor("x", (9, 9, channels), bits, False, 1.0, 0), multiple)
    order = layout.order(channels)
    places = [place for pair in order for place in pair if place >= 0]
    assert sorted(places) == list(range(kernel[0] * kernel[1] * channels))
    assert len(order) == layout.words == layout.unroll * layout.turns
    assert layout.unroll % multiple == 0
    assert layout.used <= layout.words


@given(st.integers(1, 700), st.sampled_from([2, 4, 8]))
@example(41, 8)
def test_words_that_hold_nothing_are_few(channels: int, bits: int) -> None:
    layout = columns(conv((1, 1), channels, 1), Tensor("x", (9, 9, channels), bits, False, 1.0, 0))
    assert layout.words - layout.used <= max(1, layout.used // 8)


def test_bytes_are_read_as_words_whose_halves_are_every_second_one() -> None:
    layout = columns(conv((1, 3), 3, 1), Tensor("x", (9, 9, 3), 8, False, 1.0, 0))
    assert layout.lanes == ((0, 2), (1, 3), (4, 6), (5, 7), (8, -1))
    assert (layout.segments, layout.segment_bytes, layout.whole_words, layout.rest) == (1, 9, 2, 1)
