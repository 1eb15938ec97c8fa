# SPDX-License-Identifier: Apache-2.0
"""Adds that execute the convolution before them: the same codes as apart, and less arena."""

from __future__ import annotations

from pathlib import Path

import pytest

from plinio_deploy.codegen import Schedule
from plinio_deploy.codegen.fusion import absorbed, fused
from plinio_deploy.errors import UsageError
from plinio_deploy.network import Add, Network
from tests.codegen.dsp_cases import SAME
from tests.codegen.harness import check_cases, kernel_names, make_case
from tests.codegen.on_request import DSP, check_assembly, check_twins
from tests.networks import Builder

KERNELS = ("conv_dsp_add", "conv_winograd_add", "conv_winograd_scratch_add(patches=2)")
SHAPES = ((5, 7, 8), (4, 6, 16), (1, 1, 5), (3, 3, 6))


def residual(seed: int, shape: tuple[int, int, int]) -> Network:
    """A block whose sum is read by two convolutions that are added in turn; the seed decides the order of inputs."""
    b = Builder(seed, name="residual")
    x = b.conv(b.input(shape), shape[2], (3, 3), padding=SAME)
    y = b.conv(b.conv(x, 4, (1, 1)), shape[2], (3, 3), padding=SAME, gain=3)
    z = b.add(y, x) if seed % 2 else b.add(x, y)
    b.add(b.conv(z, 6, (3, 3), padding=SAME), b.conv(z, 6, (1, 1)), relu=True)
    return b.build()


def adding(network: Network, kernel: str) -> Schedule:
    return Schedule.of({op.name: kernel for op in network.ops if isinstance(op, Add)})


@pytest.mark.host
@pytest.mark.parametrize("kernel", KERNELS)
def test_twins_compute_what_the_interpreter_computes(kernel: str, tmp_path: Path) -> None:
    networks = {f"n{seed}": residual(seed, shape) for seed, shape in enumerate(SHAPES)}
    cases = {
        prefix: make_case(network, prefix, isa=sorted(DSP), schedule=adding(network, kernel))
        for prefix, network in networks.items()
    }
    for case in cases.values():
        assert kernel_names(case).count(kernel) == 2
        assert len(kernel_names(case)) == len(case.network.ops) - 2
    check_cases(cases, tmp_path)


@pytest.mark.qemu
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("seed", [0, 1])
def test_assembly_computes_what_the_interpreter_computes(kernel: str, seed: int, tmp_path: Path) -> None:
    network = residual(seed, SHAPES[seed])
    check_assembly(network, adding(network, kernel), tmp_path)


def test_codes_of_the_convolution_take_no_arena() -> None:
    network = residual(0, (16, 16, 8))
    apart = make_case(network, isa=sorted(DSP)).manifest
    along = make_case(network, isa=sorted(DSP), schedule=adding(network, "conv_dsp_add")).manifest
    # Apart, what is added, what the convolution reads and what it writes; along, the sum overwrites what is added.
    assert apart.arena_bytes > 2 * 2048 + 1024
    assert along.arena_bytes < 2 * 2048 + 512
    assert sum(step.macs for step in along.steps) == along.macs == apart.macs
    assert next(step for step in along.steps if step.op == "add").w_bits == {"8": 8}


@pytest.mark.host
def test_a_tensor_that_the_convolution_reads_is_not_overwritten(tmp_path: Path) -> None:
    b = Builder(3)
    x = b.conv(b.input((4, 4, 8)), 8, (1, 1))
    b.conv(b.add(x, b.conv(x, 8, (3, 3), padding=SAME)), 4, (1, 1))
    network = b.build()
    assert "conv_dsp_add" in check_twins(network, adding(network, "conv_dsp_add"), tmp_path)
    site = next(iter(fused(network, DSP, adding(network, "conv_dsp_add")).values()))
    assert not site.may_alias


def test_one_convolution_is_executed_by_one_add() -> None:
    network = residual(0, (4, 4, 8))
    sites = fused(network, DSP, adding(network, "conv_dsp_add"))
    assert len(absorbed(sites)) == len(sites) == 2
    assert not fused(network, DSP, Schedule())
    assert not fused(network, DSP, adding(network, "add_plain"))


def test_a_convolution_that_others_read_is_left_alone() -> None:
    b = Builder(0)
    x = b.input((4, 4, 8))
    y = b.conv(x, 8, (1, 1))
    b.conv(y, 8, (1, 1))
    b.add(x, y)
    network = b.build()
    with pytest.raises(UsageError, match="does not execute this add"):
        make_case(network, isa=sorted(DSP), schedule=adding(network, "conv_dsp_add"))
