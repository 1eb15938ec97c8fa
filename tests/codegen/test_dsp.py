# SPDX-License-Identifier: Apache-2.0
"""Kernels for the DSP extension: their C twins here, their assembly on emulated cores, every tensor compared."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from plinio_deploy.targets import registry
from plinio_deploy.targets.build import FIRMWARE
from tests.codegen.dsp_cases import DSP
from tests.codegen.harness import STRICT, check_cases, check_networks, compile_c, kernel_names, make_case
from tests.codegen.test_cores import check_on
from tests.networks import Builder, random_network

ISA = ("dsp",)
CLANG = os.environ.get("PLINIO_DEPLOY_CLANG", "clang")
ARM = ("-mthumb", "-ffreestanding", "-isystem", str(FIRMWARE / "runtime" / "include"))
FAMILY = {
    "conv": ("conv_dsp",),
    "depthwise": ("depthwise_dsp",),
    "chain": ("conv_dsp", "linear_dsp", "linear_direct_dsp"),
    "linear": ("linear_dsp", "linear_direct_dsp"),
    "elementwise": ("add_unrolled", "avg_pool_words"),
}


@pytest.mark.host
@pytest.mark.parametrize("name", DSP)
def test_twins_compute_what_the_interpreter_computes(name: str, tmp_path: Path) -> None:
    [case] = check_networks([DSP[name]()], tmp_path, isa=ISA)
    family = FAMILY[name.split("_", maxsplit=1)[0].rstrip("248")]
    chosen = [kernel for kernel in kernel_names(case) if kernel in family]
    assert len(chosen) > 0.7 * len(kernel_names(case)) or "in_place" in name


@pytest.mark.qemu
@pytest.mark.parametrize("name", DSP)
def test_assembly_computes_what_the_interpreter_computes(name: str, tmp_path: Path) -> None:
    check_on("cortex-m4", make_case(DSP[name](), isa=registry.load("cortex-m4").features), tmp_path)


@pytest.mark.qemu
def test_a_pixel_may_be_larger_than_the_reach_of_a_store(tmp_path: Path) -> None:
    b = Builder(0)
    b.conv(b.input((1, 3, 4)), 4102, (1, 1))  # a store reaches 4095 bytes
    b.linear(b.input((8,)), 4102)
    case = make_case(b.build(), isa=registry.load("cortex-m4").features)
    assert kernel_names(case) == ["conv_dsp", "linear_dsp"]
    check_cases({"net": case}, tmp_path / "host")
    check_on("cortex-m4", case, tmp_path)


@pytest.mark.qemu
def test_kernels_of_one_width_with_and_without_a_rest_stand_side_by_side(tmp_path: Path) -> None:
    """Their phases may begin at the same lines: each kernel's labels are its own."""
    b = Builder(0)
    b.conv(b.input((1, 3, 108)), 14, (1, 1), w_bits=[4] * 4 + [8] * 4 + [4] * 6)
    case = make_case(b.build(), isa=registry.load("cortex-m4").features)
    assert kernel_names(case) == ["conv_dsp"]
    check_on("cortex-m4", case, tmp_path)


@pytest.mark.qemu
@pytest.mark.parametrize(("seed", "target"), [(400, "cortex-m4"), (401, "cortex-m7"), (402, "cortex-m33")])
def test_random_networks(seed: int, target: str, tmp_path: Path) -> None:
    check_on(target, make_case(random_network(seed, ops=14), isa=registry.load(target).features), tmp_path)


@pytest.mark.qemu
@pytest.mark.parametrize(
    "flags",
    [
        (CLANG, "--target=arm-none-eabi", "-mcpu=cortex-m4", "-O2"),
        (CLANG, "--target=arm-none-eabi", "-mcpu=cortex-m0plus", "-Os"),
        ("arm-none-eabi-gcc", "-mcpu=cortex-m7", "-O0"),
        ("arm-none-eabi-gcc", "-mcpu=cortex-m33", "-O3", "-flto"),
    ],
)
def test_compilers_take_assembly_and_twins(flags: tuple[str, ...], tmp_path: Path) -> None:
    if shutil.which(flags[0]) is None:
        pytest.skip(f"not installed: {flags[0]}")
    for name in ("conv_widths8", "depthwise8", "linear_shapes"):
        case = make_case(DSP[name](), isa=ISA)
        case.artifact.write(tmp_path / name)
        source = str(tmp_path / name / "net_layers.c")
        compile_c([*flags, *ARM, *STRICT, "-c", "-o", str(tmp_path / "layers.o"), source])
