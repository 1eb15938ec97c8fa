# SPDX-License-Identifier: Apache-2.0
"""Verb `report`: draw what was measured."""

from __future__ import annotations

from plinio_deploy.cli import options
from plinio_deploy.cli.summary import success
from plinio_deploy.console import Terminal


@options.verb
def report(
    terminal: Terminal,
    out: options.Out = options.DEFAULT_OUT,
) -> None:
    """Write report.html and report.json from every measurement in the folder.

    Example: plinio-deploy report --out out
    """
    from plinio_deploy.pipeline import line
    from plinio_deploy.pipeline.request import Request
    from plinio_deploy.pipeline.workspace import Workspace

    request = Request(Workspace(out))
    line.report_only(request, terminal)
    page = request.workspace.report.path / "report.html"
    terminal.print(f"Report: {page}")
    terminal.document(success("report", out=str(out), report=str(page)))
