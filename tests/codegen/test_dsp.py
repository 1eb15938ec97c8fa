# SPDX-License-Identifier: Apache-2.0
"""Kernels for the DSP extension: their C twins here, their assembly on emulated cores, every tensor compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from plinio_deploy.targets import registry
from tests.codegen.dsp_cases import DSP
from tests.codegen.harness import check_networks, kernel_names, make_case
from tests.codegen.test_cores import check_on
from tests.networks import random_network

ISA = ("dsp",)
FAMILY = {"conv": "conv_dsp", "depthwise": "depthwise_dsp", "linear": "linear_d"}


@pytest.mark.host
@pytest.mark.parametrize("name", DSP)
def test_twins_compute_what_the_interpreter_computes(name: str, tmp_path: Path) -> None:
    [case] = check_networks([DSP[name]()], tmp_path, isa=ISA)
    family = FAMILY[name.split("_")[0].rstrip("248")]
    chosen = [kernel for kernel in kernel_names(case) if kernel.startswith(family)]
    assert len(chosen) > 0.7 * len(kernel_names(case)) or "in_place" in name


@pytest.mark.qemu
@pytest.mark.parametrize("name", DSP)
def test_assembly_computes_what_the_interpreter_computes(name: str, tmp_path: Path) -> None:
    check_on("cortex-m4", make_case(DSP[name](), isa=registry.load("cortex-m4").features), tmp_path)


@pytest.mark.qemu
@pytest.mark.parametrize(("seed", "target"), [(400, "cortex-m4"), (401, "cortex-m7"), (402, "cortex-m33")])
def test_random_networks(seed: int, target: str, tmp_path: Path) -> None:
    check_on(target, make_case(random_network(seed, ops=14), isa=registry.load(target).features), tmp_path)
