# SPDX-License-Identifier: Apache-2.0
"""Verbs `targets list` and `targets show`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from plinio_deploy.cli import options
from plinio_deploy.cli.summary import success
from plinio_deploy.console import Terminal

app = typer.Typer(help="What firmware can be built for.\n\nExample: plinio-deploy targets show cortex-m4")


@app.command("list")
@options.verb
def list_targets(terminal: Terminal) -> None:
    """List every target, ours and those in the folders of PLINIO_DEPLOY_TARGETS.

    Example: plinio-deploy targets list
    """
    from plinio_deploy.targets import registry

    found = [registry.load(name) for name in registry.names()]
    table = Table(box=SIMPLE_HEAD)
    for name in ("target", "ISA", "runner", "description"):
        table.add_column(name, no_wrap=name != "description")
    for target in found:
        table.add_row(target.name, target.isa, target.runner, target.description)
    terminal.table(table)
    terminal.document(success("targets", targets=[_document(target) for target in found]))


@app.command("show")
@options.verb
def show(
    terminal: Terminal,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A target's name, or the path of a target file.")],
) -> None:
    """Show one target's file: flags, memory map, emulator.

    Example: plinio-deploy targets show cortex-m4
    """
    from pathlib import Path

    from plinio_deploy.targets import registry

    target = registry.load(name)
    terminal.print(f"# {target.source}")
    terminal.print(Path(target.source).read_text(encoding="utf-8").rstrip("\n"))
    terminal.document(success("targets", target=_document(target)))


def _document(target: Any) -> dict[str, Any]:
    return {**target.model_dump(mode="json"), "source": target.source}
