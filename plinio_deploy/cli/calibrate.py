# SPDX-License-Identifier: Apache-2.0
"""Verb `calibrate`: measure a target and fit its cost table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from plinio_deploy.cli import options
from plinio_deploy.cli.summary import success
from plinio_deploy.console import Terminal

if TYPE_CHECKING:
    from plinio_deploy.targets.luts import Lut


@options.verb
def calibrate(
    terminal: Terminal,
    target: options.Targets,
    validate: Annotated[
        bool, typer.Option("--validate", help="Only measure anew how far off the table is that is there.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FOLDER", help="Where the table goes; beside the package's own by default."
        ),
    ] = None,
) -> None:
    """Measure a few hundred layers on a target and fit the cost table that searches use.

    Layers and whole networks that the fit never sees tell how far off it is. What was measured is kept: the same
    command goes on after an interruption.

    Example: plinio-deploy calibrate --target cv32e40p
    """
    from plinio_deploy.pipeline.calibration import calibrate as calibration

    tables = {
        name: calibration.validate_table(name, terminal) if validate else calibration.calibrate(name, terminal, out)
        for name in dict.fromkeys(target)
    }
    terminal.table(_summary(tables))
    terminal.document(success("calibrate", tables={name: _facts(lut) for name, lut in tables.items()}))


def _facts(lut: Lut) -> dict[str, Any]:
    keep = {"target", "unit", "source", "conditions", "fit", "validation", "kernels", "tools"}
    return lut.model_dump(mode="json", include=keep)


def _summary(tables: dict[str, Lut]) -> Table:
    table = Table(box=SIMPLE_HEAD, caption="relative errors on layers and networks that the fit never saw")
    for name in ("target", "unit", "source", "layers: median", "95 %", "networks: largest"):
        table.add_column(name, justify="right")
    for name, lut in tables.items():
        found = lut.validation
        assert found is not None
        worst = "-" if found.networks is None else _percent(found.networks.max)
        table.add_row(name, lut.unit, lut.source, _percent(found.layers.median), _percent(found.layers.p95), worst)
    return table


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
