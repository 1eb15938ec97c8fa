# SPDX-License-Identifier: Apache-2.0
"""Winograd's method: C twins on the host and assembly on emulated cores compute what the interpreter computes."""

from __future__ import annotations

import shutil
from itertools import product
from pathlib import Path

import pytest

from plinio_deploy.codegen import registry
from tests.codegen.harness import STRICT, compile_c, make_case
from tests.codegen.on_request import DSP, asked, check_assembly, check_twins, dense_site
from tests.codegen.test_dsp import ARM, CLANG
from tests.codegen.winograd_cases import WINOGRAD

KERNELS = ("conv_winograd", *(f"conv_winograd_scratch(patches={patches})" for patches in (2, 4, 8)))
TRIED = (*product(KERNELS[:2], WINOGRAD), (KERNELS[2], "shapes"))


@pytest.mark.host
@pytest.mark.parametrize(("kernel", "name"), TRIED)
def test_twins_compute_what_the_interpreter_computes(kernel: str, name: str, tmp_path: Path) -> None:
    network = WINOGRAD[name]()
    taken = check_twins(network, asked(network, kernel), tmp_path)
    assert taken.count(kernel) >= (len(network.ops) - 1 if kernel in KERNELS[:2] else 3)


@pytest.mark.qemu
@pytest.mark.parametrize(("kernel", "name"), TRIED)
def test_assembly_computes_what_the_interpreter_computes(kernel: str, name: str, tmp_path: Path) -> None:
    network = WINOGRAD[name]()
    check_assembly(network, asked(network, kernel), tmp_path)


@pytest.mark.qemu
@pytest.mark.parametrize(
    "flags",
    [
        (CLANG, "--target=arm-none-eabi", "-mcpu=cortex-m4", "-O2"),
        ("arm-none-eabi-gcc", "-mcpu=cortex-m33", "-O3", "-flto"),
    ],
)
def test_compilers_take_the_assembly(flags: tuple[str, ...], tmp_path: Path) -> None:
    if shutil.which(flags[0]) is None:
        pytest.skip(f"not installed: {flags[0]}")
    network = WINOGRAD["shapes"]()
    case = make_case(network, isa=sorted(DSP), schedule=asked(network, KERNELS[1]))
    case.artifact.write(tmp_path)
    compile_c([*flags, *ARM, *STRICT, "-c", "-o", str(tmp_path / "layers.o"), str(tmp_path / "net_layers.c")])


def test_only_a_schedule_chooses_it() -> None:
    site = dense_site()
    able = registry.candidates(site)
    assert registry.choose(site).name == "conv_dsp"
    assert [kernel.on_request for kernel in able] == sorted(kernel.on_request for kernel in able)
    last = [kernel for kernel in able if "winograd" in kernel.name]
    assert {kernel.name for kernel in last} == set(KERNELS)
    assert all(kernel.cost(site) < registry.choose(site).cost(site) for kernel in last)
    scratch = {kernel.name: kernel.scratch_bytes(site) for kernel in last}
    assert [scratch[name] for name in KERNELS] == sorted(scratch.values())
    flash = {kernel.name: sum(array.nbytes for array in kernel.arrays(site)) for kernel in last}
    assert flash["conv_winograd"] - flash[KERNELS[1]] == 16 * 16 * (32 - 9)
