# SPDX-License-Identifier: Apache-2.0
"""Verb `integerize`: from the trained, fake-quantized network to the integer network."""

from __future__ import annotations

from plinio_deploy.cli import options
from plinio_deploy.cli.summary import success
from plinio_deploy.console import Terminal


@options.verb
def integerize(
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
    """Turn the trained network into true integers: network.json and weights.safetensors.

    Trains first where that has not been done, and searches if methods are given. The test set is stored beside
    the network, as the codes that a device reads, so that no later stage needs the recipe.

    Example: plinio-deploy integerize digits --out out
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
    record = line.integerize_only(request, terminal)
    terminal.print(f"Integer network: {request.workspace.integerize.path}")
    terminal.document(success("integerize", out=str(out), facts=dict(record.facts)))
