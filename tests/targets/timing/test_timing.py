# SPDX-License-Identifier: Apache-2.0
"""The timing model against cycles that follow from the manuals' tables by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from plinio_deploy.targets import registry, timing
from plinio_deploy.targets.runners import functions
from tests.targets.timing.cases import cases
from tests.targets.timing.programs import counted

DOCUMENTED = ("cortex-m0", "cortex-m0plus", "cortex-m3", "cortex-m4")
UNTESTED = {"exception"}
"""Rows that a measurement never charges."""


def board(core: str, folder: Path) -> str:
    """A target with this core's timing; QEMU's Cortex-M0 plays both cores of Armv6-M."""
    if core != "cortex-m0":
        return core
    text = (registry.BOARDS / "cortex-m0plus.toml").read_text()
    path = folder / "cortex-m0.toml"
    path.write_text(text.replace('"cortex-m0plus"', '"cortex-m0"'))
    return str(path)


@pytest.mark.qemu
@pytest.mark.parametrize("core", DOCUMENTED)
def test_documented_cycles_are_exact(core: str, tmp_path: Path) -> None:
    every = cases(core)
    snippets = {"empty": "", **{case.name: case.code for case in every}}
    found = counted(snippets, board(core, tmp_path), tmp_path, floating_point=core == "cortex-m4")
    empty = found.functions["empty"].cycles
    assert empty is not None
    wrong = []
    for case in every:
        taken = found.functions[case.name].cycles
        assert taken is not None
        own = taken - (0 if case.returns else empty)
        if own != case.cycles:
            wrong.append(f"{case.code!r}: {own}, not {case.cycles}; {found.functions[case.name].stalls}")
    assert not wrong, "\n".join(wrong)
    assert found.conditions is not None
    assert "does not know" not in found.conditions
    assert "unknown operands" not in found.conditions


@pytest.mark.parametrize("core", DOCUMENTED)
def test_every_row_has_a_case(core: str) -> None:
    table = timing.load(core)
    rows = {row.kind for row in table.rules} | {row.name for row in table.effects}
    covered = {name for case in cases(core) for name in case.rows}
    assert rows - covered == UNTESTED
    assert covered - rows == set()


def test_there_are_more_than_forty_documented_cases() -> None:
    assert sum(len(cases(core)) for core in DOCUMENTED) > 100


@pytest.mark.qemu
def test_cycles_are_instructions_plus_stalls(tmp_path: Path) -> None:
    snippets = {case.name: case.code for case in cases("cortex-m4")}
    found = counted(snippets, "cortex-m4", tmp_path, floating_point=True)
    for count in found.functions.values():
        assert count.cycles == count.instructions + sum(count.stalls.values())
    assert list(found.functions) == [*snippets, functions.REST]


@pytest.mark.qemu
def test_operands_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    found = counted({"hidden": "movs r0, #0; sdiv r0, r0, r5".replace(";", "\n")}, "cortex-m4", tmp_path)
    taken = found.functions["hidden"].cycles
    assert taken is not None
    assert 1 + 2 + 3 < taken < 1 + 12 + 3
    assert found.conditions is not None
    assert "; 1 divides or long multiplies with unknown operands" in found.conditions


@pytest.mark.qemu
def test_wait_states_of_flash(tmp_path: Path) -> None:
    snippets = {"straight": "\n".join(["nop"] * 31), "literal": "ldr r0, =0x12345678", "ram": "ldr r0, [r1]"}
    text = (registry.BOARDS / "cortex-m4.toml").read_text().replace('"cortex-m4"\ndesc', '"slow"\ndesc')
    (tmp_path / "slow.toml").write_text(text + "flash_wait = 3\nflash_line = 16\n")
    fast = counted(snippets, "cortex-m4", tmp_path)
    slow = counted(snippets, str(tmp_path / "slow.toml"), tmp_path)
    waits = {name: slow.functions[name].stalls.get("wait", 0) for name in snippets}
    # 64 bytes of code are four lines; a literal is one access more, and so is a return to another line.
    assert waits == {"straight": 4 * 3, "literal": (1 + 1) * 3, "ram": 1 * 3}
    for name in snippets:
        taken, before = slow.functions[name].cycles, fast.functions[name].cycles
        assert taken is not None
        assert before is not None
        assert taken - before == waits[name]
    assert slow.conditions is not None
    assert "3 wait states per 16 bytes of flash" in slow.conditions


APPROXIMATE = {
    # Two independent additions share a cycle; two shifts, two loads, or a result and its use do not.
    "cortex-m7": {
        "adds r0, r1, #1; adds r2, r3, #1": 1,
        "lsls r0, r1, #1; lsls r2, r3, #1": 2,
        "ldr r0, [r1]; ldr r2, [r3]": 2,
        "ldr r0, [r1]; adds r2, r3, #1": 1,
        "adds r0, r1, #1; adds r2, r0, #1": 2,
        "ldr r0, [r1]; adds r2, r0, #1": 3,
        "smlad r0, r1, r2, r0; adds r3, r5, #1": 1,
        "adds r3, r5, #1; smlad r0, r1, r2, r0": 2,
    },
    # One per cycle, two short ones in pairs; a loaded value one cycle later.
    "cortex-m33": {
        "adds r0, r1, #1; adds r2, r3, #1": 1,
        "add.w r0, r1, #1; add.w r2, r3, #1": 2,
        "ldr r0, [r1]; add.w r2, r0, #1": 3,
        "ldr.w r0, [r1]; add.w r2, r3, #1; add.w r2, r0, #1": 3,
    },
    # Vector instructions take two cycles; halves of two that use other units overlap.
    "cortex-m55": {
        "vldrb.8 q0, [r1]": 2,
        "vldrb.8 q0, [r1]; vldrb.8 q1, [r2]": 4,
        "vldrb.8 q0, [r1]; vadd.i8 q1, q2, q3; vldrb.8 q4, [r2]": 4,
        "movw r0, #3; dls lr, r0; 1: add.w r2, r2, #1; le lr, 1b": 1 + 1 + 3 * 2,
    },
}


@pytest.mark.qemu
@pytest.mark.parametrize("core", APPROXIMATE)
def test_what_the_approximate_models_say(core: str, tmp_path: Path) -> None:
    expected = APPROXIMATE[core]
    # An instruction that pairs with nothing keeps the snippet and the return apart.
    snippets = {f"case_{index}": code.replace(";", "\n") + "\n mrs r3, apsr" for index, code in enumerate(expected)}
    if core == "cortex-m55":
        snippets = {name: f"mov r12, lr\n{code}\n mov lr, r12" for name, code in snippets.items()}
    empty = "mov r12, lr\n mrs r3, apsr\n mov lr, r12" if core == "cortex-m55" else "mrs r3, apsr"
    found = counted({"empty": empty, **snippets}, core, tmp_path, floating_point=core == "cortex-m55")
    base = found.functions["empty"].cycles
    assert base is not None
    taken = {code: (found.functions[f"case_{index}"].cycles or 0) - base for index, code in enumerate(expected)}
    assert taken == expected
    assert found.approximate
    assert found.conditions is not None
    assert found.conditions.startswith("approximate model")


@pytest.mark.qemu
def test_lines_that_are_held_do_not_wait_again(tmp_path: Path) -> None:
    loop = "movs r5, #10\n1:\n" + "\n".join(["nop"] * 14) + "\nsubs r5, #1\nbne 1b"
    snippets = {
        "loop": loop,
        "literals": "adr r0, 1f\nldr r1, [r0]\nldr r2, [r0, #4]\nb 2f\n.balign 16\n1: .word 1, 2\n2:",
    }
    text = (registry.BOARDS / "cortex-m4.toml").read_text()
    waits = {}
    for name, keys in {"buffer": "", "cache": "flash_code_lines = 8\nflash_data_lines = 2\n"}.items():
        path = tmp_path / f"{name}.toml"
        path.write_text(text.replace('"cortex-m4"\ndesc', f'"{name}"\ndesc') + "flash_wait = 3\n" + keys)
        found = counted(snippets, str(path), tmp_path).functions
        waits[name] = {snippet: found[snippet].stalls["wait"] for snippet in snippets}
    # The loop is 34 bytes from byte 2 on: three lines. Nine times it goes back from the third to the first.
    assert waits["buffer"]["loop"] == (3 + 9 * 3) * 3
    assert waits["cache"]["loop"] == 3 * 3
    assert waits["buffer"]["literals"] - waits["cache"]["literals"] == 3
