# SPDX-License-Identifier: Apache-2.0
"""The C of single expressions, and the helpers that they bring along."""

from __future__ import annotations

import numpy as np
import pytest

from plinio_deploy.codegen.emit import Emitter, Helpers, literal, shape_of
from plinio_deploy.network import Hi32, Tensor, Tflite


def emitter() -> Emitter:
    return Emitter("net", "net_l00_a", Helpers())


def tensor(bits: int, signed: bool, zero_point: int = 0) -> Tensor:
    return Tensor("t", (2, 3, 4), bits, signed, 0.5, zero_point)


def multipliers(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array(values, dtype=np.int32)


@pytest.mark.parametrize(
    ("bits", "signed", "ctype", "load", "store"),
    [
        (8, False, "uint8_t", "p[c]", "p[c] = (uint8_t)v;"),
        (8, True, "int8_t", "p[c]", "p[c] = (int8_t)v;"),
        (4, False, "uint8_t", "net_load_u4(p, c)", "net_store_4(p, c, v);"),
        (2, True, "uint8_t", "net_load_s2(p, c)", "net_store_2(p, c, v);"),
    ],
)
def test_codes_are_loaded_and_stored_by_width(bits: int, signed: bool, ctype: str, load: str, store: str) -> None:
    e, t = emitter(), tensor(bits, signed)
    assert (e.ctype(t), e.load(t, "p", "c"), e.store(t, "p", "c", "v")) == (ctype, load, store)
    assert len(e.helpers.used) == (0 if bits == 8 else 2)


def test_weights_are_read_directly_only_from_an_array_of_bytes() -> None:
    e = emitter()
    assert e.weight("int8_t", 8, "w", "k") == "w[k]"
    assert e.weight("uint8_t", 8, "w", "k") == "net_load_s8(w, k)"
    assert e.weight("uint8_t", 4, "w", "k") == "net_load_s4(w, k)"
    assert e.helpers.used == {"load_s8", "load_s4"}


def test_the_accumulator_starts_at_the_bias_unless_the_sum_is_shifted() -> None:
    out = tensor(8, True, 3)
    plain = emitter().channel_requantizer(Hi32(multipliers(5, 6), 0, (-128, 127)), out)
    assert (plain.start, plain.code) == ("net_l00_a_b[oc]", "net_requantize(acc, net_l00_a_m[oc], 3, -128, 127)")
    shifted = emitter().channel_requantizer(Hi32(multipliers(5), 4, (3, 127)), out)
    assert shifted.start == "0"
    assert shifted.code == "net_requantize(net_shift_left(acc, 4) + net_l00_a_b[oc], 5, 3, 3, 127)"
    scalar = emitter().scalar_requantizer(Hi32(multipliers(5), 4, (3, 127)), -7, out)
    assert scalar.code == "net_requantize(net_shift_left(acc, 4) - 7, 5, 3, 3, 127)"


@pytest.mark.parametrize(("double", "name"), [(True, "requantize_double"), (False, "requantize_single")])
def test_tensorflow_lite_has_a_shift_per_channel(double: bool, name: str) -> None:
    e = emitter()
    found = e.channel_requantizer(Tflite(multipliers(5, 6), multipliers(-1, 2), double, (-8, 7)), tensor(4, True))
    assert found.start == "net_l00_a_b[oc]"
    assert found.code == f"net_{name}(acc, net_l00_a_m[oc], net_l00_a_s[oc], 0, -8, 7)"
    assert e.helpers.used == {name}


def test_the_least_int32_has_no_literal_in_c() -> None:
    assert [literal(value) for value in (-(2**31), -1, 2**31 - 1)] == ["(-2147483647 - 1)", "-1", "2147483647"]


def test_shapes_read_like_types() -> None:
    assert shape_of(tensor(4, False)) == "(2, 3, 4) u4"
    assert shape_of(Tensor("t", (10,), 8, True, 1.0, 0)) == "(10) s8"
