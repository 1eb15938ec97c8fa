# SPDX-License-Identifier: Apache-2.0
"""Kernels that only a schedule chooses: how to ask for them; their twins and assembly held against the interpreter."""

from __future__ import annotations

from pathlib import Path

from plinio_deploy.codegen import Schedule, registry
from plinio_deploy.codegen.kernel import Site
from plinio_deploy.network import Network
from plinio_deploy.targets import registry as targets
from tests.codegen.harness import check_cases, kernel_names, make_case
from tests.codegen.test_cores import check_on
from tests.networks import Builder

DSP = frozenset({"dsp"})
TARGET = "cortex-m4"


def asked(network: Network, *kernels: str) -> Schedule:
    """The schedule by which every layer takes the kernel that handles it, if one of these does."""
    chosen = {}
    for op in network.ops:
        for kernel in registry.candidates(Site.of(network, op, DSP, may_alias=True)):
            if kernel.name in kernels:
                chosen[op.name] = kernel.name
    return Schedule.of(chosen)


def check_twins(network: Network, schedule: Schedule, folder: Path) -> list[str]:
    """Compare every tensor that C on the host computes; hands back which kernel executes each step."""
    case = make_case(network, isa=sorted(DSP), schedule=schedule)
    check_cases({"net": case}, folder)
    return kernel_names(case)


def check_assembly(network: Network, schedule: Schedule, folder: Path) -> None:
    """Compare every tensor that an emulated core computes."""
    check_on(TARGET, make_case(network, isa=targets.load(TARGET).features, schedule=schedule), folder)


def dense_site() -> Site:
    """A convolution 3 x 3 of 16 channels that all of these kernels handle."""
    b = Builder(0)
    b.conv(b.input((8, 8, 16)), 16, (3, 3), padding=(1, 1, 1, 1))
    network = b.build()
    return Site.of(network, network.ops[0], DSP, may_alias=True)
