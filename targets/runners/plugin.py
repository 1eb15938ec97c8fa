# SPDX-License-Identifier: Apache-2.0
"""The counter of instructions and cycles: our TCG plugin for QEMU, built on first use.

The C side is firmware/qemu_plugin, where count.c says what is counted.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from plinio_deploy.errors import BuildFailed, DeviceError
from plinio_deploy.targets import cache, toolchains
from plinio_deploy.targets.build import FIRMWARE
from plinio_deploy.targets.runners import ranges, wire
from plinio_deploy.targets.runners.base import CountRequest, CycleCounts, InstructionCounts
from plinio_deploy.targets.schema import Target
from plinio_deploy.targets.timing import Flash, Timing
from plinio_deploy.targets.timing import load as load_timing

_FLAGS = ("-std=gnu99", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden")
RANGES = "ranges.txt"
"""The file of ranges that the plugin reads."""

_COUNTS, _PHASES, _TIMING = "counts.txt", "phases.txt", "timing.txt"


@dataclass(frozen=True)
class Model:
    """A table of timing, and the memory that it is applied to.

    Attributes:
        timing: the core's table.
        encoded: what the plugin reads.
        conditions: what its cycles hold for.
    """

    timing: Timing
    encoded: str
    conditions: str


def model(target: Target) -> Model | None:
    """The model of a target's cycles; `None` if its file names none.

    Raises:
        UsageError: it names a core without a table.
    """
    if target.qemu is None or target.qemu.timing is None:
        return None
    timing = load_timing(target.qemu.timing)
    flash = None
    if target.memory is not None and target.qemu.flash_wait:
        qemu = target.qemu
        flash = Flash(
            target.memory.flash, qemu.flash_wait, qemu.flash_line, qemu.flash_code_lines, qemu.flash_data_lines
        )
    return Model(timing, timing.encoded(flash), timing.conditions(flash))


def interface_version(qemu: str) -> int:
    """Version of QEMU's plugin interface to announce to a release of QEMU.

    The functions that we call are the same in all of them; releases from 9.0 on refuse plugins that announce version 1.
    """
    major = qemu.partition(".")[0]
    return 2 if major.isdigit() and int(major) >= 9 else 1


def library(qemu: str) -> Path:
    """The plugin as a shared library, compiled if this version of it is not in the cache.

    Args:
        qemu: version of the emulator that is to load it.

    Raises:
        ToolMissing: there is no host compiler.
        BuildFailed: it refused the plugin.
        OutputError: the cache cannot be written.
    """
    compiler = toolchains.require("gcc-host")
    sources = sorted((FIRMWARE / "qemu_plugin").glob("*.[ch]"))
    flags = [*_FLAGS, f"-DQEMU_API_VERSION={interface_version(qemu)}"]
    state = hashlib.sha256("\0".join([compiler.path, compiler.banner, *flags]).encode())
    for source in sources:
        state.update(source.read_bytes())

    def make(scratch: Path) -> Path:
        made = scratch / "count.so"
        names = [str(source) for source in sources if source.suffix == ".c"]
        command = [compiler.path, *flags, *names, "-o", str(made), "-ldl"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise BuildFailed("the host compiler refused the QEMU plugin", got="\n" + done.stderr.strip()[:2000])
        return made

    return cache.file("qemu_plugin", f"count-{state.hexdigest()[:16]}.so", make)


def options(
    folder: Path, request: CountRequest | None, qemu: str, model: Model | None = None, *, mode: str = ""
) -> list[str]:
    """Write the plugin's files into a folder and return QEMU's options; it must be started in that folder.

    Args:
        folder: where the files go.
        request: the ranges; `None` where the folder holds them already.
        qemu: version of the emulator.
        model: by which cycles are counted; `None` for instructions only.
        mode: the plugin's, if another than counting one inference.
    """
    if request is not None:
        ranges.write(folder / RANGES, request)
    path = str(library(qemu)).replace(",", ",,")  # how QEMU wants a comma inside a value
    words = [path, f"ranges={RANGES}", f"out={_COUNTS}"]
    if request is not None and request.phases:
        ranges.write_phases(folder / _PHASES, request)
        words.append(f"phases={_PHASES}")
    if model is not None:
        (folder / _TIMING).write_text(model.encoded)
        words.append(f"timing={_TIMING}")
    return ["-plugin", ",".join([*words, *([f"mode={mode}"] if mode else [])])]


def refused(console: str) -> DeviceError:
    """The error for an emulator that would not load the plugin."""
    return wire.failure(
        "QEMU did not accept the instruction counter",
        console,
        hints=("use a QEMU that was built with --enable-plugins, as Debian's is", "plinio-deploy doctor"),
    )


@dataclass(frozen=True)
class Counts:
    """What the plugin wrote down.

    Attributes:
        entered: how often the count began.
        finished: how often it ended.
        unknown: executed instructions that the decoder does not know; they were charged one cycle.
        blind: divides and long multiplies whose operands QEMU would not give; they were charged a middling number.
        instructions: by identifier and phase.
        cycles: the same; empty without a model.
        stalls: the same by cause; empty without a model.
    """

    entered: int
    finished: int
    unknown: int
    blind: int
    instructions: Mapping[tuple[int, int], int]
    cycles: Mapping[tuple[int, int], int]
    stalls: Mapping[str, Mapping[tuple[int, int], int]]

    def remarks(self) -> str:
        """What a reader of the cycles should know; empty if there is nothing."""
        found = []
        if self.unknown:
            found.append(f"{self.unknown} executed instructions that the model does not know, at one cycle")
        if self.blind:
            found.append(f"{self.blind} divides or long multiplies with unknown operands")
        return "".join(f"; {text}" for text in found)


def read(folder: Path, *, console: str) -> Counts:
    """Read what the plugin left in a folder.

    Raises:
        DeviceError: it left nothing.
    """
    path = folder / _COUNTS
    if not path.exists():
        raise refused(console)
    facts: dict[str, int] = {}
    causes: list[str] = []
    rows: dict[tuple[int, int], list[int]] = {}
    for name, *words in (line.split() for line in path.read_text().splitlines()):
        if name == "causes":
            causes = words
        elif name.isdigit():
            rows[int(name), int(words[0])] = [int(word) for word in words[1:]]
        else:
            facts[name] = int(words[0])
    return Counts(
        facts["entered"],
        facts["finished"],
        facts.get("unknown", 0),
        facts.get("blind", 0),
        {key: row[0] for key, row in rows.items()},
        {key: row[1] for key, row in rows.items() if causes},
        {cause: {key: row[2 + index] for key, row in rows.items()} for index, cause in enumerate(causes)},
    )


def over_phases(counts: Mapping[tuple[int, int], int]) -> dict[int, int]:
    """Counts by identifier and phase as sums by identifier."""
    found: dict[int, int] = {}
    for (identifier, _), count in counts.items():
        found[identifier] = found.get(identifier, 0) + count
    return found


def read_counts(
    folder: Path, request: CountRequest, model: Model | None, *, console: str
) -> tuple[InstructionCounts, CycleCounts | None]:
    """Read what the plugin left in a folder, by the names of the request.

    Raises:
        DeviceError: it left nothing, or the entry function was not called, or did not return.
    """
    found = read(folder, console=console)
    if (found.entered, found.finished) != (1, 1):
        raise ranges.incomplete(request, console=console)
    instructions = InstructionCounts(
        sum(found.instructions.values()),
        ranges.by_symbol(over_phases(found.instructions), request),
        ranges.by_phase(found.instructions, request),
    )
    if model is None:
        return instructions, None
    split = {cause: ranges.by_symbol(over_phases(counts), request) for cause, counts in found.stalls.items()}
    by_symbol = ranges.by_symbol(over_phases(found.cycles), request)
    cycles = CycleCounts(
        sum(found.cycles.values()),
        by_symbol,
        "model",
        model.conditions + found.remarks(),
        approximate=model.timing.approximate,
        by_phase=ranges.by_phase(found.cycles, request),
        stalls={name: {cause: counts[name] for cause, counts in split.items() if counts[name]} for name in by_symbol},
    )
    return instructions, cycles
