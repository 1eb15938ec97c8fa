# SPDX-License-Identifier: Apache-2.0
"""Constants of 16 bits: when they are taken, and that accumulators start where tables would start them."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plinio_deploy.codegen.dsp import narrow
from plinio_deploy.codegen.dsp.blocks import (
    CHAIN2,
    CHAIN4,
    DIGIT8,
    RAW2,
    RAW8,
    WIDE4,
    WIDE8,
    Run,
    Sums,
    Variant,
    _ahead,
    _starts,
    runs,
    sums,
)
from plinio_deploy.codegen.pack import MOST_UNIT, unit_of
from plinio_deploy.network import Hi32, Linear, Tensor, Weights

U8 = Tensor("x", (1,), 8, False, 1.0, 0)
HALF = st.integers(-(1 << 15), (1 << 15) - 1)
PLACE = 44


def executed(lines: list[str], stack: dict[int, int], memory: list[int]) -> dict[str, int]:
    """Registers after a few straight instructions; what is loaded by r1, once, comes from ``memory``."""
    registers: dict[str, int] = {}

    def half(name: str, top: bool) -> int:
        word = registers[name] >> (16 if top else 0) & 0xFFFF
        return (word ^ 0x8000) - 0x8000

    for line in lines:
        name, rest = line.split(" ", 1)
        words = re.findall(r"[\w#]+", rest)
        if name == "ldr":
            registers[words[0]] = stack[int(words[2][1:])]
        elif name == "ldrd":
            assert words[2:] == ["r1", f"#{4 * len(memory)}"]
            registers |= dict(zip(words[:2], memory, strict=True))
        elif name in ("ldm", "ldm.w"):
            assert rest.startswith("r1!")
            registers |= dict(zip(words[1:], memory, strict=True))
        elif name in ("smulbb", "smultb"):
            registers[words[0]] = half(words[1], top=name == "smultb") * half(words[2], top=False)
        elif name == "add":
            registers[words[0]] = registers[words[1]] + (registers[words[2]] << int(words[4][1:]))
        else:
            raise AssertionError(line)
    return {name: value % (1 << 32) for name, value in registers.items()}


@given(
    st.lists(HALF, min_size=1, max_size=4),
    st.sampled_from([1 << shift for shift in range(15)]),
    st.sampled_from([RAW8, DIGIT8, WIDE8, CHAIN4, WIDE4, CHAIN2, RAW2]),
)
def test_accumulators_start_where_a_table_starts_them(units: list[int], unit: int, variant: Variant) -> None:
    bias = np.array(units, dtype=np.int64) * unit
    run = Run(variant, 0, len(units), narrow=True)
    words = _ahead(run, Sums(bias, bias, bias, bias, 0, unit), list(range(len(units))))
    assert len(words) == run.ahead == (2 if variant.bits == 8 else 4)
    found = executed(narrow.start(("r4", "r5", "r6", "r7"), run, PLACE), {PLACE + 4: unit}, words)
    biases = [*bias.tolist(), 0, 0, 0][:4]
    assert [found[name] for name in ("r4", "r5", "r6", "r7")] == [
        start % (1 << 32) for start in _starts(variant, biases)
    ]


@given(st.lists(st.integers(-(1 << 31), (1 << 31) - 1), min_size=1))
def test_a_unit_is_the_least_that_fits_and_loses_nothing(values: list[int]) -> None:
    unit = unit_of(values)
    fitting = [1 << k for k in range(15) if all(-(1 << 15) <= value // (1 << k) < 1 << 15 for value in values)]
    if unit is None:
        assert not fitting or any(value % fitting[0] for value in values)
    else:
        assert unit == fitting[0] <= MOST_UNIT
        assert not any(value % unit for value in values)


@given(st.lists(HALF, min_size=1), st.integers(0, 14))
def test_multiples_of_a_unit_have_one(values: list[int], shift: int) -> None:
    assert unit_of([value << shift for value in values]) is not None


def layer(multiplier: list[int], bias: int, shift: int = 0) -> Linear:
    codes = np.ones((2, 40), dtype=np.int8)
    requant = Hi32(np.array(multiplier, dtype=np.int32), shift, (0, 255))
    return Linear("l", "x", "y", Weights(codes, (8, 8)), np.full(2, bias, dtype=np.int32), requant)


@pytest.mark.parametrize(
    ("op", "taken"),
    [
        (layer([7], 5), True),
        (layer([7, 7], 5), True),
        (layer([7, 8], 5), False),
        (layer([7], 1 << 20), True),
        (layer([7], (1 << 20) + 1), False),
        (layer([7], 5, shift=1), False),
    ],
)
def test_one_multiplier_and_short_biases_are_stored_so(op: Linear, taken: bool) -> None:
    found = sums(op, U8)
    assert (found.unit is not None) is taken
    parts = runs(op, found)
    assert parts is not None
    (run,) = parts
    assert run.narrow is taken
    assert runs(op, replace(found, unit=None)) == (replace(run, narrow=False),)
