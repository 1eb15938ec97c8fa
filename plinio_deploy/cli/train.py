# SPDX-License-Identifier: Apache-2.0
"""Verb `train`: float training, then training with quantizers in."""

from __future__ import annotations

from plinio_deploy.cli import options
from plinio_deploy.cli.summary import success
from plinio_deploy.console import Terminal


@options.verb
def train(
    terminal: Terminal,
    recipe: options.Recipe,
    *,
    out: options.Out = options.DEFAULT_OUT,
    training: options.TrainingOptions,
) -> None:
    """Train the recipe's model, then fine-tune it with quantizers in.

    Example: plinio-deploy train digits --out out
    """
    from plinio_deploy.cli import requests
    from plinio_deploy.pipeline import line

    request = requests.from_recipe(out, recipe, training)
    record = line.train_only(request, terminal)
    terminal.print(f"Trained network: {request.workspace.train.path}")
    terminal.document(success("train", out=str(out), facts=dict(record.facts)))
