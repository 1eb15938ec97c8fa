# SPDX-License-Identifier: Apache-2.0
"""Counts the functions of any program that QEMU runs: ours or another library's, by the names of its symbols."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from plinio_deploy.errors import UsageError
from plinio_deploy.targets import elf as elf_file
from plinio_deploy.targets import toolchains
from plinio_deploy.targets.runners import plugin, process, wire
from plinio_deploy.targets.runners.base import RunRequest
from plinio_deploy.targets.schema import Target

REST = "(rest)"
"""Name of all that no named function executed."""


@dataclass(frozen=True)
class FunctionCount:
    """What one function took in all its calls, with what it called, other named functions excepted.

    Attributes:
        instructions: executed.
        cycles: by the target's model; `None` without one.
        stalls: cycles on top of one per instruction, by cause; negative where pairing saves some.
    """

    instructions: int
    cycles: int | None
    stalls: Mapping[str, int]


@dataclass(frozen=True)
class FunctionCounts:
    """What a program took.

    Attributes:
        functions: by name, in the order that was asked for; `REST` last.
        conditions: what the cycles hold for; `None` without a model.
        approximate: whether the model is partly assumed.
        console: what the program printed.
        tools: versions.
    """

    functions: Mapping[str, FunctionCount]
    conditions: str | None
    approximate: bool
    console: str
    tools: Mapping[str, str]


def count(target: Target, elf: Path, names: Sequence[str], *, timeout_s: float = 120.0) -> FunctionCounts:
    """Run a program from reset to its semihosting exit and count its functions.

    Args:
        target: an Arm target that QEMU plays.
        elf: the program, with symbols; it must end by the semihosting call `SYS_EXIT` or `SYS_EXIT_EXTENDED`.
        names: symbols of functions.
        timeout_s: seconds after which it is ended.

    Raises:
        UsageError: the target is not played by QEMU, or the program has no such function.
        DeviceError: the program failed or hung.
        ToolMissing: QEMU or the host compiler is not installed.
    """
    if target.qemu is None or target.family != "arm":
        raise UsageError(f"{target.name} is no Arm core that QEMU plays", where=target.source)
    if not elf.is_file():
        raise UsageError("there is no such program", where=str(elf))
    emulator = toolchains.require(f"qemu-{target.qemu.system}")
    wanted = tuple(dict.fromkeys(names))
    places = _places(elf, wanted)
    model = plugin.model(target)
    command = [emulator.path, "-machine", target.qemu.machine, "-display", "none", "-monitor", "none", "-no-reboot"]
    command += ["-cpu", target.qemu.cpu] if target.qemu.cpu else []
    command += ["-serial", "null", "-semihosting-config", "enable=on,target=native", "-kernel", str(elf.resolve())]
    with process.scratch() as folder:
        (folder / plugin.RANGES).write_text("".join(f"{start:x} {end:x} {number:x}\n" for start, end, number in places))
        command += plugin.options(folder, None, emulator.version, model, mode="functions")
        ended = process.run(command, folder, RunRequest("outputs", b"", 1, timeout_s=timeout_s))
        if ended.code != 0:
            raise wire.failure(f"the program ended with status {ended.code}", ended.console)
        found = plugin.read(folder, console=ended.console)
    instructions, cycles = plugin.over_phases(found.instructions), plugin.over_phases(found.cycles)
    stalls = {cause: plugin.over_phases(counts) for cause, counts in found.stalls.items()}
    functions = {
        name: FunctionCount(
            instructions.get(number, 0),
            cycles.get(number, 0) if model is not None else None,
            {cause: counts[number] for cause, counts in stalls.items() if counts.get(number)},
        )
        for number, name in [*enumerate(wanted, start=1), (0, REST)]
    }
    conditions = None if model is None else model.conditions + found.remarks()
    approximate = model is not None and model.timing.approximate
    return FunctionCounts(functions, conditions, approximate, ended.console, {"qemu": emulator.version})


def _places(elf: Path, names: Sequence[str]) -> list[tuple[int, int, int]]:
    """(first address, address behind the last, number) of each function."""
    try:
        image = elf_file.read(elf)
    except ValueError as error:
        raise UsageError("the program cannot be read", where=str(elf), got=str(error)) from error
    known = sorted({symbol.name for symbol in image.symbols if symbol.kind == "code"})
    places = []
    for number, name in enumerate(names, start=1):
        found = [symbol for symbol in image.named(name) if symbol.kind == "code"]
        found = found or [symbol for symbol in image.symbols if symbol.kind == "code" and symbol.name == name]
        if not found:
            close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
            raise UsageError(
                f"the program has no function {name}",
                where=str(elf),
                hints=tuple(f"did you mean {match}?" for match in close)
                or ("a function that was inlined everywhere has no symbol",),
            )
        places += [(symbol.address, symbol.address + symbol.size, number) for symbol in found]
    return places
