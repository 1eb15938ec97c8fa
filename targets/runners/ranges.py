# SPDX-License-Identifier: Apache-2.0
"""Address ranges as our counters read them: firmware/qemu_plugin/count.c and firmware/rtl/testbench.cpp."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from plinio_deploy.errors import DeviceError
from plinio_deploy.targets.runners import wire
from plinio_deploy.targets.runners.base import CountRequest

_ENTRY_ID, _HARNESS_ID, _FIRST_ID = 0, 1, 2


def write(path: Path, request: CountRequest) -> None:
    """Write the file of ranges: a line "START END ID" in hexadecimal for each."""
    identifiers = _identifiers(request)
    ranges = sorted(request.ranges, key=lambda part: part.name != request.entry)  # stable: the entry point comes first
    lines = [f"{part.address:x} {part.address + part.size:x} {identifiers[part.name, part.phase]:x}" for part in ranges]
    lines += [f"{part.address:x} {part.address + part.size:x} {_HARNESS_ID:x}" for part in request.harness]
    path.write_text("\n".join([*lines, ""]))


def by_symbol(counts: Mapping[int, int], request: CountRequest) -> dict[str, int]:
    """Counts per identifier as counts per name; 0 for what never ran."""
    found: dict[str, int] = {}
    for (name, _), identifier in _identifiers(request).items():
        found[name] = found.get(name, 0) + counts.get(identifier, 0)
    return found


def by_phase(counts: Mapping[int, int], request: CountRequest) -> dict[str, dict[str, int]]:
    """Counts per identifier as counts per phase of those names that have any."""
    found: dict[str, dict[str, int]] = {}
    identifiers = _identifiers(request)
    phased = {name for name, phase in identifiers if phase}
    for (name, phase), identifier in identifiers.items():
        if name in phased:
            found.setdefault(name, {})[phase or "other"] = counts.get(identifier, 0)
    return found


def incomplete(request: CountRequest, *, console: str) -> DeviceError:
    """The error for a counter that saw no whole call of the entry function."""
    return wire.failure(f"the instruction counter saw no complete call of {request.entry}", console)


def _identifiers(request: CountRequest) -> dict[tuple[str, str], int]:
    parts = dict.fromkeys((part.name, part.phase) for part in request.ranges if part.name != request.entry)
    return {(request.entry, ""): _ENTRY_ID, **{part: _FIRST_ID + index for index, part in enumerate(parts)}}
