# SPDX-License-Identifier: Apache-2.0
"""Snippets of assembly as functions of one program, run on an emulated core and counted one by one."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from plinio_deploy.targets import registry, toolchains
from plinio_deploy.targets.runners import functions

_HEAD = """
    .syntax unified
    .thumb
    .section .vectors, "a"
    .word stack_top
    .word reset + 1
    .text
    .type reset, %function
reset:
"""

_TAIL = """
    ldr r0, =0x18
    ldr r1, =0x20026
    bkpt 0xab
    .size reset, . - reset
    .ltorg
    .bss
    .balign 16
buffer: .space 256
"""

_FLOATING_POINT = """
    ldr r0, =0xe000ed88
    ldr r1, =0xf << 20
    str r1, [r0]
    dsb
    isb
"""

_CALL = """
    ldr r0, =buffer
    mov r1, r0
    mov r2, r0
    mov r3, r0
    ldr r4, =buffer + 64
    movs r5, #7
    movs r6, #8
    ldr r7, =buffer + 128
    bl {name}
"""


def program(snippets: Mapping[str, str], *, floating_point: bool = False) -> str:
    """One function per snippet, called once each; r0 to r4 and r7 point into a buffer, r5 is 7, r6 is 8.

    A function begins at a multiple of 16 and ends with `bx lr`.
    """
    text = _HEAD + (_FLOATING_POINT if floating_point else "")
    text += "".join(_CALL.format(name=name) + "    b 1f\n    .ltorg\n1:\n" for name in snippets)
    text += _TAIL
    for name, snippet in snippets.items():
        text += f"    .text\n    .balign 16\n    .type {name}, %function\n{name}:\n{snippet}\n    bx lr\n"
        text += f"    .size {name}, . - {name}\n    .ltorg\n"
    return text


def build(snippets: Mapping[str, str], target: str, folder: Path, *, floating_point: bool = False) -> Path:
    """The ELF file of `program` for a target."""
    board = registry.load(target)
    compiler = toolchains.require("gcc-arm")
    source, output = folder / "snippets.s", folder / "snippets.elf"
    source.write_text(program(snippets, floating_point=floating_point))
    flags = [flag for flag in board.flags if flag.startswith("-m")]
    assert board.memory is not None
    flash, ram = board.memory.flash.base, board.memory.ram.base
    layout = [f"-Wl,--section-start=.vectors={flash:#x}", f"-Wl,-Ttext={flash + 0x100:#x}", "-Wl,-e,reset"]
    layout += [f"-Wl,-Tbss={ram + 0x100:#x}", f"-Wl,--defsym=stack_top={ram + 0x2000:#x}"]
    command = [compiler.path, *flags, "-nostdlib", "-static", *layout, str(source), "-o", str(output)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return output


def counted(
    snippets: Mapping[str, str], target: str, folder: Path, *, floating_point: bool = False
) -> functions.FunctionCounts:
    """What the snippets take on a target, each with its `bx lr`."""
    output = build(snippets, target, folder, floating_point=floating_point)
    return functions.count(registry.load(target), output, list(snippets))
