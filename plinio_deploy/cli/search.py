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
    out: options.Out = options.DEFAULT_OUT,
    epochs: options.Epochs = None,
    qat_epochs: options.QatEpochs = None,
    seed: options.Seed = None,
    target: options.SearchTargets = [],  # noqa: B006 (typer copies it)
    data: options.Data = None,
    budget: options.Budget = options.BudgetName.FULL,
    methods: options.Methods = "",
    strength: options.Strength = None,
    cost: options.Cost = options.CostName.SIZE,
    max_flash: options.MaxFlash = None,
    max_ram: options.MaxRam = None,
    max_cycles: options.MaxCycles = None,
    search_epochs: options.SearchEpochs = None,
    tune_epochs: options.TuneEpochs = None,
) -> None:
    """Look for layers, channels and bit widths; trains first where that has not been done.

    Limits are those of the firmware for the targets given. What is found lies in the folder's `searched`: weights, what
    was decided, one line per epoch, and costs and accuracy on the way.

    Example: plinio-deploy search digits --methods pit,mps --max-flash 12k --target cortex-m4
    """
    from plinio_deploy.cli import requests
    from plinio_deploy.pipeline import line
    from plinio_deploy.pipeline.request import Request
    from plinio_deploy.pipeline.workspace import Workspace

    request = Request(
        Workspace(out),
        recipe,
        tuple(dict.fromkeys(target)),
        training=requests.training(epochs, qat_epochs, seed, budget),
        data=data,
        search=requests.search(methods, strength, cost, (max_flash, max_ram, max_cycles), (search_epochs, tune_epochs)),
    )
    record = line.search_only(request, terminal)
    terminal.print(f"Searched network: {request.workspace.search.path}")
    terminal.document(success("search", out=str(out), facts=dict(record.facts)))
