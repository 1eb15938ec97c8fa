# SPDX-License-Identifier: Apache-2.0
"""`measure --elf`: the functions of any program, by the names of their symbols."""

from __future__ import annotations

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from plinio_deploy.cli.summary import success
from plinio_deploy.console import Terminal
from plinio_deploy.errors import UsageError
from plinio_deploy.targets import registry
from plinio_deploy.targets.runners import functions


def measure_program(terminal: Terminal, elf: Path, symbols: str, targets: list[str]) -> None:
    """Run a program and print what each function took.

    Args:
        terminal: where the result goes.
        elf: the program.
        symbols: names of functions, separated by commas.
        targets: exactly one.

    Raises:
        UsageError: no symbol, or not one target.
    """
    names = [name.strip() for name in symbols.split(",") if name.strip()]
    if not names:
        raise UsageError("--elf needs the names of functions", hints=("--symbols arm_convolve_s8,arm_softmax_s8",))
    if len(set(targets)) != 1:
        raise UsageError("--elf is measured on one target", got=", ".join(targets) or "none", expected="one --target")
    found = functions.count(registry.load(targets[0]), elf, names)
    rows = {
        name: {"instructions": count.instructions, "cycles": count.cycles, "stalls": dict(count.stalls)}
        for name, count in found.functions.items()
    }
    terminal.table(_table(found))
    terminal.document(
        success(
            "measure",
            elf=str(elf),
            target=targets[0],
            functions=rows,
            cycles_source=None if found.conditions is None else "model",
            cycles_conditions=found.conditions,
            approximate=found.approximate,
            tools=dict(found.tools),
        )
    )


def _table(found: functions.FunctionCounts) -> Table:
    caption = "all calls, callees included, other named functions excepted"
    if found.conditions is not None:
        caption += f"; cycles: {found.conditions}"
    table = Table(box=SIMPLE_HEAD, caption=caption, caption_justify="left")
    table.add_column("function")
    for name in ("instructions", "cycles (model)", "per instruction"):
        table.add_column(name, justify="right")
    table.add_column("beyond one per instruction")
    for name, count in found.functions.items():
        ratio = count.cycles / count.instructions if count.cycles is not None and count.instructions else None
        table.add_row(
            name,
            f"{count.instructions:,}".replace(",", " "),
            "-" if count.cycles is None else f"{count.cycles:,}".replace(",", " "),
            "-" if ratio is None else f"{ratio:.3f}",
            ", ".join(f"{cause} {cycles:+d}" for cause, cycles in count.stalls.items()),
        )
    return table
