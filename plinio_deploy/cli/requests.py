# SPDX-License-Identifier: Apache-2.0
"""What the options of several verbs ask of the pipeline."""

from __future__ import annotations

from plinio_deploy.cli.options import BudgetName, CostName
from plinio_deploy.errors import UsageError
from plinio_deploy.pipeline.request import METHODS, Limits, Search, Training


def training(epochs: int | None, qat_epochs: int | None, seed: int | None, budget: BudgetName) -> Training:
    """Settings of the training."""
    return Training(epochs, qat_epochs, seed, "short" if budget is BudgetName.SHORT else "full")


def search(
    methods: str,
    strength: float | None,
    cost: CostName,
    limits: tuple[int | None, int | None, int | None],
    epochs: tuple[int | None, int | None],
) -> Search:
    """What to search for.

    Args:
        methods: names with commas between them, in any order.
        strength: price of the cost.
        cost: what it is a price on.
        limits: on flash, RAM and cycles.
        epochs: of each search and of fine-tuning.

    Raises:
        UsageError: a name that is no method; a strength that is no positive number.
    """
    named = [name.strip().lower() for name in methods.split(",") if name.strip()]
    unknown = [name for name in named if name not in METHODS]
    if unknown:
        raise UsageError("no such search method", got=", ".join(unknown), expected="some of " + ",".join(METHODS))
    if strength is not None and not 0 < strength < float("inf"):
        raise UsageError("a strength is a positive number", where="--strength", got=strength)
    chosen = tuple(name for name in METHODS if name in named)
    return Search(chosen, strength, cost.value, Limits(*limits), *epochs)
