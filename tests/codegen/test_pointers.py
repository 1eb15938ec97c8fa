# SPDX-License-Identifier: Apache-2.0
"""C expressions of where tensors lie, for each kind of place."""

from __future__ import annotations

import pytest

from plinio_deploy.codegen.lower import Place
from plinio_deploy.codegen.pointers import pointer
from plinio_deploy.network import Tensor

S8, U8, S4 = (Tensor("t", (8, 4, 2), bits, signed, 0.1, 0) for bits, signed in ((8, True), (8, False), (4, True)))
SECOND = 24
"""Offset of the second input or output, when all lie back to back."""


@pytest.mark.parametrize(
    ("place", "tensor", "packed", "const", "text"),
    [
        (Place("input", 1, SECOND), S8, False, True, "in1"),
        (Place("input", 1, SECOND), U8, False, True, "in1"),
        (Place("output", 0, 0), S8, False, False, "out0"),
        (Place("input", 1, SECOND), S8, True, True, "(const int8_t *)(input + 24)"),
        (Place("input", 0, 0), S8, True, True, "(const int8_t *)input"),
        (Place("input", 1, SECOND), U8, True, True, "input + 24"),
        (Place("output", 1, SECOND), S8, True, False, "(int8_t *)(output + 24)"),
        (Place("output", 0, 0), S4, True, False, "output"),
        (Place("arena", 0, 0), U8, False, False, "arena"),
        (Place("arena", 0, 0), S8, False, False, "(int8_t *)arena"),
        (Place("arena", 0, 64), S8, False, True, "(const int8_t *)(arena + 64)"),
        (Place("arena", 0, 64), S8, True, False, "(int8_t *)(arena + 64)"),
        (Place("arena", 0, 64), S4, False, True, "arena + 64"),
    ],
)
def test_whole_tensors(place: Place, tensor: Tensor, packed: bool, const: bool, text: str) -> None:
    assert pointer(place, tensor, packed=packed, const=const) == text


def test_rows_of_typed_inputs_count_from_their_own_start() -> None:
    place = Place("input", 1, SECOND).at(16)
    assert pointer(place, S8, packed=False, const=True) == "in1 + 16"
    assert pointer(place, S8, packed=True, const=True) == "(const int8_t *)(input + 40)"


@pytest.mark.parametrize(
    ("place", "step", "band", "text"),
    [
        (Place("arena", 0, 64), 16, 0, "arena + band * 16 + 64"),
        (Place("arena", 0, 64), 16, 1, "arena + band * 16 + 48"),
        (Place("arena", 0, 64), 16, 4, "arena + band * 16"),
        (Place("arena", 0, 64), 0, 3, "arena + 64"),
        (Place("input", 0, 0, 8), 16, 1, "in0 + band * 16 - 8"),
        (Place("output", 1, SECOND), 1, 0, "out1 + band"),
    ],
)
def test_bands_that_step(place: Place, step: int, band: int, text: str) -> None:
    found = pointer(place, U8, packed=False, const=False, step=step, band=band)
    assert found == text
    # At its own band it is the place itself.
    expected = place.offset if place.kind == "arena" else place.within
    assert eval(found, {"arena": 0, "in0": 0, "out1": 0, "band": band}) == expected  # noqa: S307 - sums of these names


def test_bands_of_signed_bytes_are_cast_as_a_whole() -> None:
    text = pointer(Place("arena", 0, 32), S8, packed=False, const=False, step=32, band=1)
    assert text == "(int8_t *)(arena + band * 32)"
