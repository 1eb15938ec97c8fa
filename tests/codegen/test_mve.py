# SPDX-License-Identifier: Apache-2.0
"""Kernels of the vector extension: plain C twins on this machine, assembly on an emulated Cortex-M55."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from plinio_deploy.codegen import mve, registry
from plinio_deploy.codegen.kernel import Site
from plinio_deploy.codegen.runs import MAX_RUNS
from plinio_deploy.network import Conv, Linear, Network
from plinio_deploy.targets import registry as targets
from tests.codegen.edge_cases import NETWORKS, U8, interleaved
from tests.codegen.harness import check_networks, kernel_names, make_case
from tests.codegen.test_cores import check_on
from tests.networks import Builder, random_network

ISA = ("dsp", "mve")


@pytest.mark.host
def test_twins_equal_the_interpreter(tmp_path: Path) -> None:
    for case in check_networks([make() for make in (*NETWORKS, interleaved)], tmp_path, samples=2, isa=ISA):
        assert all(name.endswith("_mve") for name in kernel_names(case))


@pytest.mark.host
def test_twins_in_random_networks(tmp_path: Path) -> None:
    check_networks([random_network(seed, ops=12) for seed in range(700, 703)], tmp_path, samples=2, isa=ISA)


@pytest.mark.qemu
@pytest.mark.parametrize("make", [*NETWORKS, interleaved])
def test_assembly_equals_the_interpreter(make: Callable[[], Network], tmp_path: Path) -> None:
    assert set(targets.load("cortex-m55").features) == set(ISA)
    check_on("cortex-m55", make_case(make(), isa=ISA), tmp_path)


@pytest.mark.qemu
@pytest.mark.parametrize("seed", [710])
def test_assembly_in_random_networks(seed: int, tmp_path: Path) -> None:
    check_on("cortex-m55", make_case(random_network(seed, ops=12), isa=ISA), tmp_path)


def test_many_runs_and_runs_that_split_packed_codes_keep_the_fast_kernels() -> None:
    network = interleaved()
    many = split = 0
    for op in network.ops:
        assert isinstance(op, Conv | Linear)
        output, runs = network.tensors[op.output], op.weights.runs()
        assert registry.choose(Site.of(network, op, frozenset(ISA), may_alias=True)).name.endswith("_mve")
        many += len(runs) > MAX_RUNS
        split += output.bits < 8 and any(first % 4 for _, first, _ in runs)
        found = mve.runs_of(op)
        assert len(found) <= MAX_RUNS
        assert output.bits == 8 or not any(run.first % 4 for run in found)
    assert many > 8
    assert split > 8


def conv_site(bias: int) -> Site:
    b = Builder(1)
    b.conv(b.input((2, 2, 16), U8), 4, (1, 1), w_bits=(2,))
    network = b.build()
    op = network.ops[0]
    assert isinstance(op, Conv)
    op.bias[0] = bias
    return Site.of(network, op, frozenset(ISA), may_alias=True)


def test_accumulators_that_do_not_fit_once_scaled_are_left_to_others() -> None:
    assert registry.choose(conv_site(0)).name == "conv_mve"
    assert registry.choose(conv_site(1 << 25)).name != "conv_mve"


def test_weights_lie_in_the_order_in_which_they_are_read() -> None:
    """Two groups of channels by 20 along K: vectors of the first 16 of each channel, then of what is left."""
    b = Builder(2)
    b.linear(b.input((20,), U8), 5)
    network = b.build()
    op = network.ops[0]
    assert isinstance(op, Linear)
    words, _ = mve.arrays(op, network.tensors[op.input])
    codes = np.array(words.values, dtype="<u4").view(np.int8).reshape(2, 2, 4, 16)
    flat = op.weights.codes
    assert (codes[0, 0] == flat[:4, :16]).all()
    assert (codes[0, 1, :, :4] == flat[:4, 16:]).all()
    assert (codes[1, 0, 0] == flat[4, :16]).all()
    assert not codes[1, :, 1:].any()
    assert not codes[0, 1, :, 4:].any()


@pytest.mark.parametrize("isa", [ISA, ("thumb1",), ("thumb2",)])
def test_lengths_that_no_constant_holds_are_left_to_others(isa: tuple[str, ...]) -> None:
    b = Builder(3)
    b.linear(b.input((65530,), U8), 1, out=U8)
    network = b.build()
    (op,) = network.ops
    assert registry.choose(Site.of(network, op, frozenset(isa), may_alias=True)).name in ("linear_plain", "linear_dsp")
