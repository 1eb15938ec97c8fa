# SPDX-License-Identifier: Apache-2.0
"""Weights as bytes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from plinio_deploy.codegen import pack
from plinio_deploy.network import Tensor, Weights
from plinio_deploy.packing import pack as pack_tensor
from plinio_deploy.packing import unpack_rows


@st.composite
def weights(draw: st.DrawFn) -> Weights:
    bits = draw(st.lists(st.sampled_from([2, 4, 8]), min_size=1, max_size=12))
    shape = (len(bits), *draw(st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 5))))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    codes = np.stack([rng.integers(-(1 << (b - 1)), 1 << (b - 1), size=shape[1:]) for b in bits]).astype(np.int8)
    return Weights(codes, tuple(bits))


@given(weights())
def test_rows_unpack_to_the_codes_channel_by_channel(value: Weights) -> None:
    array = pack.weight_array(value, "")
    data = np.array(array.values).astype(np.uint8)
    place = 0
    for channel, bits in enumerate(value.bits):
        size = pack.row_bytes(value, bits)
        row = data[place : place + size].reshape(1, -1)
        place += size
        codes = value.codes[channel].ravel()
        assert unpack_rows(row, codes.size, bits, signed=True)[0].tolist() == codes.tolist()
    assert place == array.nbytes == len(array.values)


@given(weights())
def test_runs_cover_the_channels_in_order(value: Weights) -> None:
    runs = pack.runs(value)
    assert [bits for run in runs for bits in [run.bits] * (run.end - run.first)] == list(value.bits)
    assert all(a.end == b.first and a.bits != b.bits for a, b in pairwise(runs))


def test_bytes_are_signed_only_if_all_channels_have_eight_bits() -> None:
    codes = np.array([[-128, 127], [-2, 1]], dtype=np.int8)
    assert pack.weight_array(Weights(codes, (8, 8)), "").ctype == "int8_t"
    mixed = pack.weight_array(Weights(codes, (8, 2)), "")
    assert (mixed.ctype, mixed.values) == ("uint8_t", (128, 127, 0b0110))


@given(st.sampled_from([2, 4, 8]), st.booleans(), st.integers(1, 11), st.data())
def test_a_pixel_of_one_code_is_what_packing_gives(bits: int, signed: bool, channels: int, data: st.DataObject) -> None:
    tensor = Tensor("t", (1, 1, channels), bits, signed, 1.0, 0)
    code = data.draw(st.integers(tensor.qmin, tensor.qmax))
    assert pack.pixel_of(tensor, code) == pack_tensor(tensor, np.full((1, 1, 1, channels), code))
