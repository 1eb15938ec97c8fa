# SPDX-License-Identifier: Apache-2.0
"""Kernels for Cortex-M0, M0+ and M3: plain C twins on this machine, assembly on emulated cores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plinio_deploy.codegen import registry, thumb, thumb1
from plinio_deploy.codegen.kernel import Site
from plinio_deploy.codegen.runs import MAX_RUNS
from plinio_deploy.network import Conv, Linear, Network
from plinio_deploy.targets import registry as targets
from tests.codegen.edge_cases import MIXED, QUANTIZERS, U8, convolutions, deep, depthwise, interleaved, others, packed
from tests.codegen.harness import check_networks, kernel_names, make_case
from tests.codegen.test_cores import check_on
from tests.networks import Builder, random_network

CORES = {"cortex-m0plus": "thumb1", "cortex-m3": "thumb2"}


def small_depthwise() -> Network:
    """What fits a Cortex-M0's memory."""
    return depthwise(quantizers=QUANTIZERS[1:3])


@pytest.mark.host
def test_twins_equal_the_interpreter(tmp_path: Path) -> None:
    """Both cores have the same twins; those of the faster one are chosen more often."""
    networks = [convolutions(), deep(), others(), depthwise(), packed(), interleaved()]
    names = [kernel_names(case) for case in check_networks(networks, tmp_path, samples=2, isa=("thumb2",))]
    assert set(names[0]) == {"conv_thumb2"}
    assert set(names[1]) == {"conv_thumb2", "depthwise_thumb2"}
    assert names[2].count("linear_thumb2") >= 16
    assert set(names[3]) == {"depthwise_thumb2", "depthwise_plain"}
    assert set(names[4]) == {"conv_thumb2", "linear_thumb2"}
    assert set(names[5]) == {"conv_thumb2", "linear_thumb2", "depthwise_thumb2"}


@pytest.mark.parametrize("isa", CORES.values())
def test_many_runs_keep_the_fast_kernels(isa: str) -> None:
    network = interleaved()
    many = 0
    for op in network.ops:
        assert isinstance(op, Conv | Linear)
        site = Site.of(network, op, frozenset((isa,)), may_alias=True)
        if len(op.weights.runs()) > MAX_RUNS:
            assert registry.choose(site).name.endswith(isa)
            many += 1
        layout = thumb.products_of(op, site.inputs[0], site.output, 1)
        found = thumb.runs_of(op, layout.padded)
        assert len(found) <= MAX_RUNS
        assert layout.aside == any(run.bits < 8 for run in found)
    assert many > 8


def test_sums_are_put_aside_only_where_weights_are_packed_as_few_bits() -> None:
    b = Builder(4)
    b.linear(b.input((20,), U8), 40, w_bits=(2, 8), out=U8)
    b.linear(b.input((20,), U8), 15, w_bits=(2,) * 8 + (8,) * 7, out=U8)
    network = b.build()
    layouts = [
        thumb.products_of(op, network.tensors[op.input], network.tensors[op.output], 1)
        for op in network.ops
        if isinstance(op, Linear)
    ]
    assert [(layout.aside, layout.padded) for layout in layouts] == [(False, 24), (True, 32)]


@pytest.mark.host
def test_twins_of_depthwise_with_weights_that_are_unsigned(tmp_path: Path) -> None:
    (case,) = check_networks([depthwise()], tmp_path, samples=2, isa=("thumb1",))
    assert set(kernel_names(case)) == {"depthwise_thumb1", "depthwise_plain"}


@pytest.mark.host
def test_twins_in_random_networks(tmp_path: Path) -> None:
    check_networks([random_network(seed, ops=12) for seed in range(720, 723)], tmp_path, samples=2, isa=("thumb1",))


@pytest.mark.qemu
@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("make", [convolutions, packed, small_depthwise, others, interleaved])
def test_assembly_equals_the_interpreter(make: Callable[[], Network], core: str, tmp_path: Path) -> None:
    assert targets.load(core).features == (CORES[core],)
    check_on(core, make_case(make(), isa=(CORES[core],)), tmp_path)


@pytest.mark.qemu
@pytest.mark.parametrize("core", CORES)
def test_assembly_of_products_longer_than_a_block(core: str, tmp_path: Path) -> None:
    """As long as the small memory of a Cortex-M0 holds."""
    b = Builder(3)
    for w_bits in ((8,), (4,), (2,), MIXED):
        b.linear(b.input((325,), U8), 13, w_bits=w_bits, out=U8)
        b.conv(b.input((1, 3, 70), (8, True, 0.05, 5)), 6, (1, 3), padding=(0, 0, 1, 1), w_bits=w_bits)
    check_on(core, make_case(b.build(), isa=(CORES[core],)), tmp_path)


def execute(lines: list[str], registers: dict[str, int]) -> None:
    """Run straight-line Thumb code on numbers modulo 2^32."""
    for line in lines:
        name, _, rest = line.partition(" ")
        operands = [operand.strip() for operand in rest.split(",")]
        to, *sources = operands
        values = [int(source[1:]) if source.startswith("#") else registers[source] for source in sources]
        if name == "mov":
            found = values[0]
        elif name == "uxth":
            found = values[0] & 0xFFFF
        elif name in ("adds", "add"):
            found = sum(values) if len(values) == 2 else registers[to] + values[0]
        elif name == "muls":
            found = registers[to] * values[0]
        elif name == "lsrs":
            found = values[0] >> values[1]
        else:
            assert name == "asrs", line
            signed = values[0] - (1 << 32) if values[0] >> 31 else values[0]
            found = signed >> values[1]
        registers[to] = found % (1 << 32)


@given(st.integers(-(1 << 31), (1 << 31) - 1), st.integers(1, (1 << 31) - 1))
def test_high_word_of_any_product(accumulator: int, multiplier: int) -> None:
    wide = abs(accumulator) * multiplier >= 1 << 46
    registers = {"r3": multiplier >> 16, "r4": multiplier & 0xFFFF, "r5": accumulator % (1 << 32)}
    execute(thumb1.high_word(wide=wide), registers)
    assert registers["r5"] == (accumulator * multiplier >> 32) % (1 << 32)


@given(st.integers(-(1 << 31), (1 << 31) - 1), st.integers(1, (1 << 31) - 1))
def test_high_word_of_small_results(accumulator: int, multiplier: int) -> None:
    accumulator %= min(1 << 31, (1 << 46) // multiplier)
    for signed in (accumulator, -accumulator):
        for wide in (False, True):
            registers = {"r3": multiplier >> 16, "r4": multiplier & 0xFFFF, "r5": signed % (1 << 32)}
            execute(thumb1.high_word(wide=wide), registers)
            assert registers["r5"] == (signed * multiplier >> 32) % (1 << 32)


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 15), st.integers(0, 15)), min_size=1, max_size=96))
def test_two_packed_weights_are_multiplied_at_once(steps: list[tuple[int, int, int]]) -> None:
    """What the assembly does, as arithmetic: sums of 16 products, from which both dot products are found."""
    total = upper = 0
    for first in range(0, len(steps), 16):
        block = sum((w0 + (w1 << 16)) * x for x, w0, w1 in steps[first : first + 16])
        assert block < 1 << 32
        total, upper = (total + block) % (1 << 32), upper + (block >> 16)
    assert upper == sum(w1 * x for x, _, w1 in steps)
    assert (total - (upper << 16)) % (1 << 32) == sum(w0 * x for x, w0, _ in steps)


def test_packed_weights_lie_in_the_order_in_which_they_are_read() -> None:
    b = Builder(2)
    b.linear(b.input((20,), U8), 4, w_bits=(4,))
    network = b.build()
    op = network.ops[0]
    assert isinstance(op, Linear)
    layout = thumb.products_of(op, network.tensors[op.input], network.tensors[op.output], 1)
    words, _ = thumb.arrays(op, network.tensors[op.input], layout)
    assert (layout.padded, len(words.values)) == (32, 16)
    for k in range(20):
        word = words.values[k // 2] >> (8 * (k % 2))
        digits = [word & 15, word >> 16 & 15, word >> 4 & 15, word >> 20 & 15]
        assert np.array_equal(digits, op.weights.codes[:, k] + 8)
