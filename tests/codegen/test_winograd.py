# SPDX-License-Identifier: Apache-2.0
"""Winograd's method: C twins on the host and assembly on emulated cores compute what the interpreter computes."""

from __future__ import annotations

from pathlib import Path

import pytest

from plinio_deploy.codegen import registry
from plinio_deploy.codegen.kernel import Site
from plinio_deploy.targets import registry as targets
from tests.codegen.harness import build_library, check_case, kernel_names, make_case
from tests.codegen.test_cores import check_on
from tests.codegen.winograd_cases import WINOGRAD, asked
from tests.networks import Builder

KERNELS = ("conv_winograd",)
DSP = frozenset({"dsp"})


@pytest.mark.host
@pytest.mark.parametrize("name", WINOGRAD)
@pytest.mark.parametrize("kernel", KERNELS)
def test_twins_compute_what_the_interpreter_computes(kernel: str, name: str, tmp_path: Path) -> None:
    network = WINOGRAD[name]()
    case = make_case(network, isa=sorted(DSP), schedule=asked(network, kernel))
    assert set(kernel_names(case)) == {kernel}
    check_case(build_library({"net": case}, tmp_path), "net", case)


@pytest.mark.qemu
@pytest.mark.parametrize("name", WINOGRAD)
@pytest.mark.parametrize("kernel", KERNELS)
def test_assembly_computes_what_the_interpreter_computes(kernel: str, name: str, tmp_path: Path) -> None:
    network = WINOGRAD[name]()
    case = make_case(network, isa=targets.load("cortex-m4").features, schedule=asked(network, kernel))
    check_on("cortex-m4", case, tmp_path)


def test_only_a_schedule_chooses_it() -> None:
    b = Builder(0)
    b.conv(b.input((8, 8, 16)), 16, (3, 3), padding=(1, 1, 1, 1))
    network = b.build()
    site = Site.of(network, network.ops[0], DSP, may_alias=True)
    able = registry.candidates(site)
    assert registry.choose(site).name == "conv_dsp"
    assert [kernel.name for kernel in able if kernel.on_request] == [kernel.name for kernel in able[-len(KERNELS) :]]
    assert min(able, key=lambda kernel: kernel.cost(site)).name in KERNELS
