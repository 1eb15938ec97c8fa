# SPDX-License-Identifier: Apache-2.0
"""Verb `search`: from the trained network to one that suits a price or a limit."""

from __future__ import annotations

from plinio_deploy.cli import options
from plinio_deploy.cli.summary import success
from plinio_deploy.console import Terminal


@options.verb
def search(
    terminal: Terminal,
    recipe: options.Recipe,
    *,
    out: options.Out = options.DEFAULT_OUT,
    target: options.SearchTargets = [],  # noqa: B006 (typer copies it)
    training: options.TrainingOptions,
    search: options.SearchOptions,
) -> None:
    """Look for layers, channels and bit widths; trains first where that has not been done.

    Limits are those of the firmware for the targets given. What is found lies in the folder's `searched`: weights, what
    was decided, one line per epoch, and costs and accuracy on the way.

    Example: plinio-deploy search digits --methods pit,mps --max-flash 12k --target cortex-m4
    """
    from plinio_deploy.cli import requests
    from plinio_deploy.pipeline import line

    request = requests.from_recipe(out, recipe, training, search, target)
    record = line.search_only(request, terminal)
    terminal.print(f"Searched network: {request.workspace.search.path}")
    terminal.document(success("search", out=str(out), facts=dict(record.facts)))
