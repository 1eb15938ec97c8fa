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
    *,
    out: options.Out = options.DEFAULT_OUT,
    target: options.SearchTargets = [],  # noqa: B006 (typer copies it)
    training: options.TrainingOptions,
    search: options.SearchOptions,
) -> None:
    """Turn the trained network into true integers: network.json and weights.safetensors.

    Trains first where that has not been done, and searches if methods are given. The test set is stored beside
    the network, as the codes that a device reads, so that no later stage needs the recipe.

    Example: plinio-deploy integerize digits --out out
    """
    from plinio_deploy.cli import requests
    from plinio_deploy.pipeline import line

    request = requests.from_recipe(out, recipe, training, search, target)
    record = line.integerize_only(request, terminal)
    terminal.print(f"Integer network: {request.workspace.integerize.path}")
    terminal.document(success("integerize", out=str(out), facts=dict(record.facts)))
