# SPDX-License-Identifier: Apache-2.0
"""What the options of several verbs ask of the pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from plinio_deploy.cli.options import BudgetName, SearchOptions, TrainingOptions
from plinio_deploy.errors import UsageError
from plinio_deploy.pipeline.request import METHODS, Limits, Request, Search, Training
from plinio_deploy.pipeline.workspace import Workspace
from plinio_deploy.recipe import Budget


def from_recipe(
    out: Path,
    recipe: str,
    training: TrainingOptions,
    search: SearchOptions | None = None,
    targets: Sequence[str] = (),
) -> Request:
    """What a verb that starts at a recipe asks for.

    Args:
        out: folder of the run.
        recipe: name or file.
        training: as given.
        search: as given; ``None`` if the verb does not search.
        targets: as given.

    Raises:
        UsageError: a name that is no method; a strength that is no positive number.
    """
    budget: Budget = "short" if training.budget is BudgetName.SHORT else "full"
    return Request(
        Workspace(out),
        recipe,
        tuple(targets),
        training=Training(training.epochs, training.qat_epochs, training.seed, budget),
        data=training.data,
        search=Search() if search is None else _search(search),
    )


def _search(given: SearchOptions) -> Search:
    """What to search for; methods have commas between them and come in any order."""
    named = [name.strip().lower() for name in given.methods.split(",") if name.strip()]
    unknown = [name for name in named if name not in METHODS]
    if unknown:
        raise UsageError("no such search method", got=", ".join(unknown), expected="some of " + ",".join(METHODS))
    strength = given.strength
    if strength is not None and not 0 < strength < float("inf"):
        raise UsageError("a strength is a positive number", where="--strength", got=strength)
    limits = Limits(given.max_flash, given.max_ram, given.max_cycles)
    chosen = tuple(name for name in METHODS if name in named)
    return Search(chosen, strength, given.cost.value, limits, given.search_epochs, given.tune_epochs)
