# SPDX-License-Identifier: Apache-2.0
"""The memory form of codes."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plinio_deploy import packing
from plinio_deploy.network import Tensor, runs_of


def test_the_first_code_lies_in_the_least_significant_bits() -> None:
    assert packing.pack_rows(np.array([[1, 2, 3]]), 4).tolist() == [[0x21, 0x03]]
    assert packing.pack_rows(np.array([[1, 2, 3, 0, 1]]), 2).tolist() == [[0b00111001, 0b01]]
    assert packing.pack_rows(np.array([[-1, 5]]), 8).tolist() == [[0xFF, 5]]


def test_each_row_starts_on_a_byte() -> None:
    assert packing.pack_rows(np.array([[1], [2]]), 4).tolist() == [[1], [2]]


@given(
    bits=st.sampled_from([2, 4, 8]),
    signed=st.booleans(),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 9)),
    samples=st.integers(1, 3),
    seed=st.integers(0, 2**16),
)
def test_unpack_undoes_pack(bits: int, signed: bool, shape: tuple[int, int, int], samples: int, seed: int) -> None:
    tensor = Tensor("t", shape, bits, signed, 1.0, 0)
    codes = np.random.default_rng(seed).integers(tensor.qmin, tensor.qmax + 1, (samples, *shape))
    data = packing.pack(tensor, codes)
    assert len(data) == samples * tensor.nbytes
    assert np.array_equal(packing.unpack(tensor, data, samples), codes)


def test_a_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="3 bytes, but 1 samples take 4"):
        packing.unpack(Tensor("t", (4,), 8, False, 1.0, 0), b"abc", 1)


@pytest.mark.parametrize(
    ("bits", "most", "packed"),
    [
        ((4,) * 5 + (2,), 4, (4,) * 6),
        ((8, 8) + (4,) * 27 + (2, 8, 4), 4, (8,) * 4 + (4,) * 24 + (8,) * 4),
        ((8, 4, 8, 4, 8, 4, 4, 4, 4, 4), 4, (8,) * 8 + (4,) * 2),
        ((2,) * 4 + (4,) * 4 + (2,) * 4 + (8,) * 4 + (2,) * 8, 3, (4,) * 12 + (8,) * 4 + (2,) * 8),
        ((2,) * 4 + (4,) * 4 + (2,) * 4 + (8,) * 4 + (2,) * 8, 2, (8,) * 16 + (2,) * 8),
        ((2,) * 4 + (4,) * 4 + (2,) * 4 + (8,) * 4 + (2,) * 8, 1, (8,) * 24),
    ],
)
def test_channels_are_packed_wider_than_they_are(bits: tuple[int, ...], most: int, packed: tuple[int, ...]) -> None:
    assert packing.packed_as(bits, most) == packed


@given(st.lists(st.sampled_from([2, 4, 8]), min_size=1, max_size=23), st.integers(1, 4))
def test_no_other_packing_of_as_few_runs_takes_fewer_bits(bits: list[int], most: int) -> None:
    packed = packing.packed_as(tuple(bits), most)
    groups = [max(bits[first : first + packing.GROUP]) for first in range(0, len(bits), packing.GROUP)]
    assert list(packed) == [width for width in packed[:: packing.GROUP] for _ in range(packing.GROUP)][: len(bits)]
    assert len(packed) == len(bits)
    others = (
        other
        for other in product((2, 4, 8), repeat=len(groups))
        if len(runs_of(other)) <= most and all(a >= b for a, b in zip(other, groups, strict=True))
    )
    assert packed[:: packing.GROUP] in (found := list(others))
    assert sum(packed[:: packing.GROUP]) == min(map(sum, found))
