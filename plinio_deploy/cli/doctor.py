# SPDX-License-Identifier: Apache-2.0
"""Verb `doctor`: what is installed, what is missing, and the command that installs it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from plinio_deploy.cli import options
from plinio_deploy.cli.summary import success
from plinio_deploy.console import Terminal

PACKAGES = ("torch", "numpy", "scikit-learn", "safetensors", "jinja2", "pyelftools")
EXIT_MISSING = 3


@options.verb
def doctor(terminal: Terminal) -> None:
    """Say what is installed, what is missing, and the command that installs it.

    Ends with exit code 3 if a tool is missing that a stage needs.

    Example: plinio-deploy doctor
    """
    from plinio_deploy.targets import toolchains

    table = Table(box=SIMPLE_HEAD)
    for name in ("tool", "version", "where", "needed for", "environment variable"):
        table.add_column(name, no_wrap=name != "needed for")
    entries = []
    missing = []
    for tool, found in toolchains.survey():
        state = "[green]" + found.version if found else "[red]missing" if tool.needed else "[yellow]missing"
        table.add_row(tool.name, state, found.path if found else "-", tool.purpose, tool.variable)
        if found is None:
            missing.append(tool)
        entries.append(
            {
                "name": tool.name,
                "found": found is not None,
                "needed": tool.needed,
                "version": found.version if found else None,
                "path": found.path if found else None,
                "install": tool.install,
                "variable": tool.variable,
            }
        )
    for package in PACKAGES:
        table.add_row(package, _version(package), "Python package", "", "")
    terminal.table(table)
    packages = sorted({word for tool in missing for word in tool.package.split()})
    if packages:
        terminal.print(f"Install what is missing: sudo apt-get install {' '.join(packages)}")
    else:
        terminal.print("Nothing is missing.")
    complete = not any(tool.needed for tool in missing)
    python = {package: _version(package) for package in PACKAGES}
    terminal.document({**success("doctor", tools=entries, packages=python), "ok": complete})
    if not complete:
        raise typer.Exit(EXIT_MISSING)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"
