# SPDX-License-Identifier: Apache-2.0
"""Verb `build`: from the C project to firmware."""

from __future__ import annotations

from plinio_deploy.cli import options
from plinio_deploy.cli.summary import success
from plinio_deploy.console import Terminal


@options.verb
def build(
    terminal: Terminal,
    target: options.Targets,
    out: options.Out = options.DEFAULT_OUT,
) -> None:
    """Compile the C project and the measuring bench into firmware.

    Example: plinio-deploy build --target cortex-m4 --out out
    """
    from plinio_deploy.pipeline import line
    from plinio_deploy.pipeline.request import Request
    from plinio_deploy.pipeline.workspace import Workspace

    request = Request(Workspace(out), targets=tuple(target))
    records = line.build_only(request, terminal)
    for name in records:
        terminal.print(f"Firmware: {request.workspace.build(name).path}")
    facts = {name: dict(record.facts) for name, record in records.items()}
    terminal.document(success("build", out=str(out), targets=facts))
