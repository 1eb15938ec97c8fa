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
) -> None:
    """Turn the trained network into true integers: network.json and weights.safetensors.

    Trains first where that has not been done. The test set is stored beside the network, as the codes that a device
    reads, so that no later stage needs the recipe.

    Example: plinio-deploy integerize digits --out out
    """
    from plinio_deploy.pipeline import line
    from plinio_deploy.pipeline.request import Request, Training
    from plinio_deploy.pipeline.workspace import Workspace

    request = Request(Workspace(out), recipe, training=Training(epochs, qat_epochs, seed))
    record = line.integerize_only(request, terminal)
    terminal.print(f"Integer network: {request.workspace.integerize.path}")
    terminal.document(success("integerize", out=str(out), facts=dict(record.facts)))
