# SPDX-License-Identifier: Apache-2.0
"""What a search of the pipeline aims at: a price on one cost, or limits for several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from plinio_deploy.recipes.loop import Regularizer
from plinio_deploy.search import cost
from plinio_deploy.search.cost.latency import from_table
from plinio_deploy.search.cost.spec import Cost
from plinio_deploy.search.feasibility import least_cost
from plinio_deploy.search.regularizers import DUCCIO, BaseRegularizer
from plinio_deploy.targets.luts import Lut

GROWTH = 1.3
"""Factor per epoch on a limit that is missed in the second half of a search: pipelines search for few epochs."""

TASK_LOSS = 1.0
"""What missing a limit by as much as the start does is worth, in units of the task's loss."""

ROOM = 1.15
"""How far above the least that it can reach a method is asked to go, where others follow."""

MARGIN = 0.97
"""Share of a limit that a search aims at: decisions are made soft and counted hard."""


def costs(target: str | None = None, table: Lut | None = None) -> dict[str, Cost]:
    """Every cost that a search of the pipeline looks at, by the name that ``--cost`` takes.

    Args:
        target: also its cycles, from its cost table; ``None`` leaves them out.
        table: instead of the target's own.

    Raises:
        UsageError: the target has no table; says how to make one.
    """
    found: dict[str, Cost] = {
        "size": cost.params_bit,
        "flash": cost.flash,
        "ram": cost.arena,
        "macs": cost.ops_no_bias,
    }
    if target is None:
        return found
    return {**found, "cycles": cost.latency(target) if table is None else from_table(table)}


@dataclass(frozen=True)
class Goal:
    """What a search aims at.

    Attributes:
        cost: that the price is on.
        strength: price of all of the cost that the method starts with, in units of the task's loss.
        limits: name of a cost -> most of it, in its own unit; used where there is no strength.
        target: whose cycles count; ``None`` if they do not.
        table: that says them; ``None``: the target's own.
    """

    cost: str = "size"
    strength: float | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    target: str | None = None
    table: Lut | None = field(default=None, repr=False)

    def costs(self) -> dict[str, Cost]:
        """See `costs`."""
        return costs(self.target, self.table)

    def within(self, limits: Mapping[str, float]) -> Goal:
        """The same with other limits."""
        return replace(self, limits=dict(limits))

    def on(self, table: Lut) -> Goal:
        """The same with cycles from another table."""
        return replace(self, table=table)

    def regularizer(self, model: Any, seed: Mapping[str, float], share: float) -> Regularizer:
        """The price for one method of a chain.

        Limits are approached in equal factors: the first of two methods is asked for half of the way, on a logarithmic
        scale, and no method for more than it can give.

        Args:
            model: under search.
            seed: costs of the network that the chain starts from.
            share: of the way that this method and those before it are asked for; 1 for the last one.
        """
        if self.strength is not None:
            return BaseRegularizer(self.cost, self.strength, relative=True)
        limits = {}
        for name, limit in self.limits.items():
            aim = MARGIN * limit
            if share < 1 and seed[name] > aim:
                aim = max(seed[name] * (aim / seed[name]) ** share, ROOM * least_cost(model, name))
            limits[name] = aim
        return DUCCIO(limits, task_loss=TASK_LOSS, growth=GROWTH, check=False)

    def missed(self, found: Mapping[str, float]) -> dict[str, float]:
        """By how much of its own unit each limit is exceeded; only those that are."""
        return {name: found[name] - limit for name, limit in self.limits.items() if found[name] > limit}


def measure(model: Any, names: Iterable[str]) -> dict[str, float]:
    """Costs of the network that a search would export now: decisions count as they fall, living channels as one."""
    flags = {module: module.training for module in model.modules()}
    discrete = getattr(model, "discrete_cost", None)
    try:
        model.eval()
        if discrete is not None:
            model.discrete_cost = True
        with torch.no_grad():
            return {name: float(model.get_cost(name)) for name in names}
    finally:
        if discrete is not None:
            model.discrete_cost = discrete
        for module, flag in flags.items():
            module.training = flag


def measure_plain(model: nn.Module, names: Mapping[str, Cost], input_shape: tuple[int, ...]) -> dict[str, float]:
    """Costs of a plain network, at 8 bits."""
    from plinio_deploy.search.methods.pit import PIT

    priced = PIT(model, cost=dict(names), input_shape=input_shape, full_cost=True, autoconvert_layers=False)
    return measure(priced, names)
