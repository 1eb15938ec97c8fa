# SPDX-License-Identifier: Apache-2.0
"""The instruction counter is exact: against the core's own counter, and against assembly counted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from plinio_deploy.artifact import Artifact
from plinio_deploy.targets import registry
from plinio_deploy.targets.runners.base import RunRequest
from plinio_deploy.targets.runners.qemu import QemuRunner
from tests.firmware.benches import counting, made, ran, samples
from tests.firmware.fake_project import TRACE, FakeProject, project

ICOUNT = ("-icount", "shift=0")
"""One instruction per tick, so that QEMU's minstret is a count of instructions."""

READ_MINSTRET = """
    .text
    .global net_run_packed
    .type net_run_packed, %function
net_run_packed:
    addi sp, sp, -16
    sw ra, 12(sp)
    sw s0, 8(sp)
    sw a2, 4(sp)
    csrr s0, minstret
    jal ra, net_run
    csrr a1, minstret
    sub a1, a1, s0
    lw a2, 4(sp)
    sw a1, 0(a2)
    lw s0, 8(sp)
    lw ra, 12(sp)
    addi sp, sp, 16
    ret
    .size net_run_packed, . - net_run_packed
"""
"""A harness that answers with how far minstret went instead of the network's outputs."""

BETWEEN_THE_READS = 2
"""Instructions besides the network that the difference holds: the jump to it, and one of the two reads."""

BY_HAND = """
    .syntax unified
    .thumb
    .text
    .global net_l00_first, net_l01_deep, net_l02_sum
    .type net_l00_first, %function
    .type net_l01_deep, %function
    .type net_l02_sum, %function
    .type helper, %function

    @ 1 + 10 * 2 + 1 = 22
net_l00_first:
    movs r2, #10
1:  subs r2, #1
    bne 1b
    bx lr
    .size net_l00_first, . - net_l00_first

    @ in no range, so it counts for its caller: 1 + 3 * 2 + 1 = 8
helper:
    movs r3, #3
2:  subs r3, #1
    bne 2b
    bx lr
    .size helper, . - helper

    @ 1 + 2 * (1 + 8) + 2 + 1 = 22; the branch over the nop is taken
net_l01_deep:
    push {r4, lr}
    bl helper
    bl helper
    cmp r0, r0
    beq 3f
    nop
3:  pop {r4, pc}
    .size net_l01_deep, . - net_l01_deep

    @ 1
net_l02_sum:
    bx lr
    .size net_l02_sum, . - net_l02_sum
"""

FALLING_THROUGH = """
    .syntax unified
    .thumb
    .text
    .global net_l00_first, net_l01_deep, net_l02_sum
    .type net_l00_first, %function
    .type net_l01_deep, %function
    .type net_l02_sum, %function
net_l00_first:
    nop
    .size net_l00_first, . - net_l00_first
net_l01_deep:
    nop
    nop
    bx lr
    .size net_l01_deep, . - net_l01_deep
net_l02_sum:
    bx lr
    .size net_l02_sum, . - net_l02_sum
"""
"""The first layer runs into the second without a branch: one block of QEMU's holds instructions of both."""


def assembly(text: str) -> str:
    """Assembly as a declaration in C."""
    quoted = "".join(f'    "{line}\\n"\n' for line in text.splitlines())
    return f"__asm__(\n{quoted});\n"


def with_file(base: FakeProject, name: str, text: str) -> FakeProject:
    """The project with one file replaced."""
    return FakeProject(Artifact({**base.artifact.files, name: text.encode()}), base.inputs)


@pytest.mark.qemu
def test_the_count_is_minstret(tmp_path: Path) -> None:
    head = TRACE[: TRACE.index("void net_run_packed")].lstrip()
    changed = with_file(project(), "net_trace.c", head + assembly(READ_MINSTRET))
    built = made(changed, "rv32imc", tmp_path)
    request = RunRequest("outputs", b"".join(samples(1)), 1, counting(changed, built))
    result = QemuRunner(registry.load("rv32imc"), ICOUNT).run(built.elf, request)
    assert result.instructions is not None
    assert result.instructions.total > 10_000
    assert int.from_bytes(result.outputs, "little") == result.instructions.total + BETWEEN_THE_READS


@pytest.mark.qemu
@pytest.mark.parametrize("target", ["cortex-m0plus", "cortex-m4", "cortex-m33"])
def test_the_count_is_that_by_hand(target: str, tmp_path: Path) -> None:
    changed = with_file(project(), "net_layers.c", '#include "net_layers.h"\n' + assembly(BY_HAND))
    built = made(changed, target, tmp_path)
    counted = ran(built, target, samples(2), count=counting(changed, built)).instructions
    assert counted is not None
    layers = {name: counted.by_symbol[name] for name in ("net_l00_first", "net_l01_deep", "net_l02_sum")}
    assert layers == {"net_l00_first": 22, "net_l01_deep": 22, "net_l02_sum": 1}


@pytest.mark.qemu
def test_a_block_that_belongs_to_two_layers_is_split(tmp_path: Path) -> None:
    changed = with_file(project(), "net_layers.c", '#include "net_layers.h"\n' + assembly(FALLING_THROUGH))
    built = made(changed, "cortex-m4", tmp_path)
    counted = ran(built, "cortex-m4", samples(1), count=counting(changed, built)).instructions
    assert counted is not None
    # Called once each; the second layer also runs at the end of the first.
    assert (counted.by_symbol["net_l00_first"], counted.by_symbol["net_l01_deep"]) == (1, 3 + 3)


@pytest.mark.qemu
@pytest.mark.parametrize("target", ["cortex-m4", "cortex-m55", "rv32imc"])
def test_the_count_does_not_depend_on_qemus_clock(target: str, tmp_path: Path) -> None:
    built = made(project(), target, tmp_path)
    request = RunRequest("outputs", b"".join(samples(1)), 1, counting(project(), built))
    plain, ticking = (QemuRunner(registry.load(target), options).run(built.elf, request) for options in ((), ICOUNT))
    assert plain.instructions is not None
    assert plain.instructions == ticking.instructions


@pytest.mark.qemu
@pytest.mark.parametrize("target", ["cortex-m4", "rv32imc"])
def test_an_extra_instruction_is_an_extra_count(target: str, tmp_path: Path) -> None:
    totals = []
    for number in (0, 1, 5):
        changed = project(first='__asm__ volatile("nop");' * number)
        built = made(changed, target, tmp_path / str(number))
        counted = ran(built, target, samples(1), count=counting(changed, built)).instructions
        assert counted is not None
        totals.append(counted.by_symbol["net_l00_first"])
    assert [total - totals[0] for total in totals] == [0, 1, 5]


PHASES = BY_HAND.replace(
    "1:  subs r2, #1\n    bne 1b",
    "net_l00_first__phase_loop:\n1:  subs r2, #1\n    bne 1b\nnet_l00_first__phase_end.1:",
).replace("    bl helper\n    bl helper", "    bl helper\nnet_l01_deep__phase_second:\n    bl helper")
"""The same with labels of phases: between two instructions of a block, and with a call in between."""


@pytest.mark.qemu
def test_cycles_and_phases_are_those_by_hand(tmp_path: Path) -> None:
    changed = with_file(project(), "net_layers.c", '#include "net_layers.h"\n' + assembly(PHASES))
    built = made(changed, "cortex-m4", tmp_path)
    result = ran(built, "cortex-m4", samples(1), count=counting(changed, built))
    assert result.instructions is not None
    assert result.cycles is not None
    assert result.cycles.source == "model"
    assert result.instructions.by_symbol["net_l00_first"] == 22
    assert result.instructions.by_phase["net_l00_first"] == {"other": 1, "loop": 20, "end": 1}
    # push, a call, and the helper's eight; a call, the eight, the comparison, the branch and pop.
    assert result.instructions.by_phase["net_l01_deep"] == {"other": 2 + 8, "second": 1 + 8 + 2 + 1}
    loop = 10 + 9 * 2 + 1
    assert result.cycles.by_phase["net_l00_first"] == {"other": 1, "loop": loop, "end": 3}
    assert result.cycles.by_symbol["net_l00_first"] == 1 + loop + 3
    assert result.cycles.total == sum(result.cycles.by_symbol.values())
    for name, cycles in result.cycles.by_symbol.items():
        assert cycles == result.instructions.by_symbol[name] + sum(result.cycles.stalls[name].values())
    assert "net_l02_sum" not in result.cycles.by_phase
