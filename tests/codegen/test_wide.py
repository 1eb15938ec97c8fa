# SPDX-License-Identifier: Apache-2.0
"""Weights of 8 bits with half as much flash again: twins and assembly compute what the interpreter computes."""

from __future__ import annotations

from pathlib import Path

import pytest

from plinio_deploy.codegen import registry
from plinio_deploy.codegen.kernel import Site
from plinio_deploy.codegen.schedule import Schedule
from plinio_deploy.network import Network
from plinio_deploy.targets import registry as targets
from tests.codegen.dsp_cases import DSP
from tests.codegen.harness import build_library, check_case, kernel_names, make_case
from tests.codegen.test_cores import check_on
from tests.networks import Builder

ISA = frozenset({"dsp"})
CASES = ("conv_shapes", "conv_extremes", "linear_shapes")


def asked(network: Network) -> Schedule:
    """The kernel for every layer that it handles."""
    chosen = {}
    for op in network.ops:
        for kernel in registry.candidates(Site.of(network, op, ISA, may_alias=True)):
            if "_wide_" in kernel.name:
                chosen[op.name] = kernel.name
    return Schedule.of(chosen)


@pytest.mark.host
@pytest.mark.parametrize("name", CASES)
def test_twins_compute_what_the_interpreter_computes(name: str, tmp_path: Path) -> None:
    network = DSP[name]()
    case = make_case(network, isa=sorted(ISA), schedule=asked(network))
    wide = [kernel for kernel in kernel_names(case) if "_wide_" in kernel]
    assert len(wide) > 0.7 * len(network.ops)
    check_case(build_library({"net": case}, tmp_path), "net", case)


@pytest.mark.qemu
@pytest.mark.parametrize("name", CASES)
def test_assembly_computes_what_the_interpreter_computes(name: str, tmp_path: Path) -> None:
    network = DSP[name]()
    case = make_case(network, isa=targets.load("cortex-m4").features, schedule=asked(network))
    check_on("cortex-m4", case, tmp_path)


def test_it_takes_half_as_much_flash_again_and_only_a_schedule_chooses_it() -> None:
    b = Builder(0)
    b.conv(b.input((8, 8, 16)), 16, (3, 3), padding=(1, 1, 1, 1))
    network = b.build()
    site = Site.of(network, network.ops[0], ISA, may_alias=True)
    plain = registry.choose(site)
    assert plain.name == "conv_dsp"
    [wide] = [kernel for kernel in registry.candidates(site) if kernel.name == "conv_wide_dsp"]
    assert wide.cost(site) < plain.cost(site)
    flash = [sum(array.nbytes for array in kernel.arrays(site)) for kernel in (plain, wide)]
    assert flash[1] - flash[0] == 16 * 9 * 16 // 2
