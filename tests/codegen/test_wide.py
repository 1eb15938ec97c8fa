# SPDX-License-Identifier: Apache-2.0
"""Weights of 8 bits with half as much flash again: twins and assembly compute what the interpreter computes."""

from __future__ import annotations

from pathlib import Path

import pytest

from plinio_deploy.codegen import registry
from tests.codegen.dsp_cases import DSP as NETWORKS
from tests.codegen.on_request import asked, check_assembly, check_twins, dense_site

KERNELS = ("conv_wide_dsp", "linear_wide_dsp")
CASES = ("conv_shapes", "conv_extremes", "linear_shapes")


@pytest.mark.host
@pytest.mark.parametrize("name", CASES)
def test_twins_compute_what_the_interpreter_computes(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name]()
    taken = check_twins(network, asked(network, *KERNELS), tmp_path)
    assert sum(kernel in KERNELS for kernel in taken) > 0.7 * len(network.ops)


@pytest.mark.qemu
@pytest.mark.parametrize("name", CASES)
def test_assembly_computes_what_the_interpreter_computes(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name]()
    check_assembly(network, asked(network, *KERNELS), tmp_path)


def test_it_takes_half_as_much_flash_again_and_only_a_schedule_chooses_it() -> None:
    site = dense_site()
    plain = registry.choose(site)
    assert plain.name == "conv_dsp"
    [wide] = [kernel for kernel in registry.candidates(site) if kernel.name == "conv_wide_dsp"]
    assert wide.cost(site) < plain.cost(site)
    flash = [sum(array.nbytes for array in kernel.arrays(site)) for kernel in (plain, wide)]
    assert flash[1] - flash[0] == 16 * 9 * 16 // 2
