# SPDX-License-Identifier: Apache-2.0
"""What a verb prints at its end: the summary table, or the success document of ``--json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table


def success(verb: str, **content: Any) -> dict[str, Any]:
    """The document that ``--json`` prints when a verb succeeds."""
    return {"schema": 1, "verb": verb, "ok": True, **content}


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}".replace(",", " ")


CAPTION = "instructions and stack of one inference; bytes; RAM and flash of the whole firmware, bench included"
WIDE = 115
"""Columns that one line per target takes."""


def summary_table(measurements: Sequence[Mapping[str, Any]], width: int) -> Table:
    """One line per target; on a narrow terminal one column per target.

    Args:
        measurements: ``measurement.json`` of each target.
        width: columns of the terminal.
    """
    rows = [_cells(item) for item in measurements]
    if all(row["cycles"] == "-" for row in rows):
        rows = [{name: text for name, text in row.items() if name != "cycles"} for row in rows]
    table = Table(box=SIMPLE_HEAD, caption=CAPTION, caption_justify="left", min_width=min(width, len(CAPTION)))
    names = list(rows[0])
    if width >= WIDE:
        for name in names:
            table.add_column(name, justify="left" if name == "target" else "right", no_wrap=True)
        for row in rows:
            table.add_row(*row.values())
        return table
    table.add_column("target")
    for row in rows:
        table.add_column(row["target"], justify="right")
    for name in names[1:]:
        table.add_row(name, *(row[name] for row in rows))
    return table


def _cycles(total: Mapping[str, Any]) -> str:
    """Cycles never appear without their source."""
    if total["cycles"] is None:
        return "-"
    about = "~" if total.get("approximate") else ""
    return f"{about}{_count(total['cycles'])} ({total['cycles_source']})"


def _cells(item: Mapping[str, Any]) -> dict[str, str]:
    memory, instructions = item["memory"], item["total"]["instructions"]
    exact = item["differing_samples"] == 0 and item["differing_tensors"] == 0
    return {
        "target": item["target"],
        "samples": _count(item["samples"]),
        "differing": f"[{'green' if exact else 'red'}]{_count(item['differing_samples'])}[/]",
        "accuracy": f"{100 * item['accuracy']['integer']:.2f} %",
        "instructions": _count(instructions),
        "cycles": _cycles(item["total"]),
        "per MAC": "-" if instructions is None or not item["macs"] else f"{instructions / item['macs']:.2f}",
        "arena (bound)": f"{_count(memory['arena_bytes'])} ({_count(memory['arena_bound_bytes'])})",
        "stack": _count(memory["stack_peak_bytes"]),
        "RAM": _count(memory["ram_bytes"]),
        "flash": _count(memory["flash_bytes"]),
    }
