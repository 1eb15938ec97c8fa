# SPDX-License-Identifier: Apache-2.0
"""Address ranges as our counters read them: firmware/qemu_plugin/count.c and firmware/rtl/testbench.cpp."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from plinio_deploy.errors import DeviceError
from plinio_deploy.targets.runners import wire
from plinio_deploy.targets.runners.base import CountRequest

_ENTRY_ID, _HARNESS_ID, _FIRST_ID = 0, 1, 2

MAX_PHASES = 63
"""The highest number of a phase (firmware/qemu_plugin/ranges.h)."""

OTHER = "other"
"""What a layer executes outside its phases."""


def write(path: Path, request: CountRequest) -> None:
    """Write the file of ranges: a line "START END ID" in hexadecimal for each."""
    identifiers = _identifiers(request)
    ranges = sorted(request.ranges, key=lambda part: part.name != request.entry)  # stable: the entry point comes first
    lines = [f"{part.address:x} {part.address + part.size:x} {identifiers[part.name]:x}" for part in ranges]
    lines += [f"{part.address:x} {part.address + part.size:x} {_HARNESS_ID:x}" for part in request.harness]
    path.write_text("\n".join([*lines, ""]))


def by_symbol(counts: Mapping[int, int], request: CountRequest) -> dict[str, int]:
    """Counts per identifier as counts per name; 0 for what never ran."""
    return {name: counts.get(identifier, 0) for name, identifier in _identifiers(request).items()}


def write_phases(path: Path, request: CountRequest) -> None:
    """Write the file of phases: a line "START END PHASE" in hexadecimal for each range of one."""
    numbers = phase_numbers(request)
    lines = [f"{part.address:x} {part.address + part.size:x} {numbers[part.name]:x}" for part in request.phases]
    path.write_text("\n".join([*lines, ""]))


def phase_numbers(request: CountRequest) -> dict[str, int]:
    """Phases by name, numbered from 1; what exceeds `MAX_PHASES` shares the last number."""
    names = dict.fromkeys(part.name for part in request.phases)
    return {name: min(index, MAX_PHASES) for index, name in enumerate(names, start=1)}


def by_phase(counts: Mapping[tuple[int, int], int], request: CountRequest) -> dict[str, dict[str, int]]:
    """Counts per identifier and phase as counts per name and phase, for names that have any.

    What is in no phase is `OTHER`.
    """
    names = {number: name for name, number in reversed(phase_numbers(request).items())}
    found: dict[str, dict[str, int]] = {}
    for name, identifier in _identifiers(request).items():
        parts = {phase: count for (key, phase), count in counts.items() if key == identifier and count}
        if any(parts):
            found[name] = {names.get(phase, OTHER): count for phase, count in sorted(parts.items())}
    return found


def incomplete(request: CountRequest, *, console: str) -> DeviceError:
    """The error for a counter that saw no whole call of the entry function."""
    return wire.failure(f"the instruction counter saw no complete call of {request.entry}", console)


def _identifiers(request: CountRequest) -> dict[str, int]:
    names = [name for name in dict.fromkeys(part.name for part in request.ranges) if name != request.entry]
    return {request.entry: _ENTRY_ID, **{name: _FIRST_ID + index for index, name in enumerate(names)}}
