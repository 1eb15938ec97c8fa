# SPDX-License-Identifier: Apache-2.0
"""What a search adds to the task's loss: a price on costs, or limits for them.

    regularizer = BaseRegularizer("params_bit", strength=1e-6)            # a price: smaller is always better
    regularizer = DUCCIO({"size": "64 kB", "cycles": "50 %"}, task_loss=2.3)   # limits: below them nothing is charged
    ...
    loss = task_loss + regularizer(model, epoch, n_epochs)

DUCCIO is that of Burrello et al. 2023 (arXiv 2310.07217). A regularizer lives on the device of the model's costs, never
returns NaN for finite costs, and keeps what it learned at its first call in ``state_dict``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from plinio_deploy.errors import UsageError
from plinio_deploy.search.feasibility import Searched, least_cost, read_cost
from plinio_deploy.search.schedules import Schedule, constant, progress
from plinio_deploy.search.units import parse, unit_of

MARGIN = 0.1
"""Least distance of cost and target, as a share of the target, that a strength is computed from."""


class DummyRegularizer:
    """No regularization: 0, whatever the model."""

    def __call__(self, model: Searched, epoch: int = 1, n_epochs: int = 1) -> Tensor:  # noqa: ARG002
        """A zero on the device of the model's search parameters."""
        device = next((p.device for p in model.nas_parameters()), torch.device("cpu"))
        return torch.zeros((), device=device)


class BaseRegularizer:
    """``strength * cost``.

    Args:
        cost_name: which of the model's costs; not looked at where the model has a single, unnamed one.
        strength: price of one unit of cost, in units of the task's loss; positive.
        relative: the price is for the whole initial cost instead, so that 0.1 or 1 are sensible values for any cost.
        schedule: factor on the strength over the progress of the search
            (:mod:`~plinio_deploy.search.schedules`).

    Raises:
        UsageError: the strength is not a positive finite number.
    """

    def __init__(
        self,
        cost_name: str = "params",
        strength: float = 1e-3,
        *,
        relative: bool = False,
        schedule: Schedule | None = None,
    ) -> None:
        self.cost_name = cost_name
        self.strength = _positive(strength, "A regularization strength")
        self.relative = relative
        self.schedule = schedule or constant(1.0)
        self.initial: float | None = None

    def __call__(self, model: Searched, epoch: int = 1, n_epochs: int = 1) -> Tensor:
        """The term to add to the loss.

        Args:
            model: the model under search.
            epoch: counted from 1 as PLiNIO does; only the schedule looks at it.
            n_epochs: epochs of the search.

        Returns:
            0-dim tensor with a fresh graph to the search parameters.
        """
        cost = read_cost(model, self.cost_name)
        if self.initial is None:
            self.initial = float(cost.detach())
        scale = self.initial if self.relative and self.initial > 0 else 1.0
        return cost * (self.strength * self.schedule(progress(epoch - 1, n_epochs)) / scale)

    def state_dict(self) -> dict[str, Any]:
        """What the first call measured."""
        return {"initial": self.initial}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another regularizer stopped."""
        self.initial = state["initial"]


class DUCCIO:
    """Several limits at once: ``sum_m s_m * max(0, cost_m - target_m)``.

    The strength of each limit is such that at the start all of them weigh as much as the task:
    ``s_m = task_loss / (cost_m - target_m)``, with the first costs seen. It is ramped up from 1 % to all of it over the
    first half of the search. A limit that the model already meets, or nearly, is charged as if it were missed by a
    tenth, so that the search cannot drift over it for nothing (the formula itself gives zero, a negative or an
    infinite strength there). After the ramp a limit that is still missed gets dearer every epoch by ``growth``, until
    it is met: a fixed strength may lose against the task's loss for ever.

    Args:
        targets: cost name -> limit: a number in the cost's own unit; ``"64 kB"``, ``"1.5 Mcycles"``, ``"2 mJ"`` and the
            like; or ``"30 %"`` of the model's initial cost. For a model with one unnamed cost, any one name.
        task_loss: what the task's loss is about when the search starts (2.3 for ten untrained classes).
        final_strengths: the strengths themselves instead, as a mapping, or a sequence in the order of ``targets``.
        growth: factor per epoch on the strength of a limit that is missed after the ramp; 1 switches it off.
        check: refuse limits that no model in the search space meets, at the first call.

    Raises:
        UsageError: neither or both of ``task_loss`` and ``final_strengths``, or a value out of range.
    """

    def __init__(
        self,
        targets: Mapping[str, float | str],
        task_loss: float | Tensor | None = None,
        final_strengths: Mapping[str, float] | Sequence[float] | None = None,
        *,
        growth: float = 1.1,
        check: bool = True,
    ) -> None:
        if not targets:
            raise UsageError("DUCCIO needs at least one target", got="none")
        if (task_loss is None) == (final_strengths is None):
            raise UsageError(
                "DUCCIO takes the task's loss or the strengths",
                got="neither" if task_loss is None else "both",
                expected="one of task_loss and final_strengths",
            )
        if growth < 1:
            raise UsageError("DUCCIO's growth cannot weaken a limit", got=growth, expected=">= 1")
        self.targets = dict(targets)
        self.task_loss = None if task_loss is None else _positive(float(task_loss), "DUCCIO's task loss")
        self.growth = growth
        self.check = check
        self.limits: dict[str, float] = {}
        """Targets in the costs' own units, known after the first call."""
        self.strengths = {} if final_strengths is None else _strengths(self.targets, final_strengths)
        """Final strengths, known after the first call."""
        self.grown = dict.fromkeys(self.targets, 1.0)
        """What growth has made of them so far."""
        self._last_epoch: int | None = None

    def __call__(self, model: Searched, epoch: int = 1, n_epochs: int = 1) -> Tensor:
        """The term to add to the loss; without arguments at full strength.

        Args:
            model: the model under search.
            epoch: counted from 1 as PLiNIO does.
            n_epochs: epochs of the search.

        Returns:
            0-dim tensor with a fresh graph to the search parameters.

        Raises:
            UsageError: at the first call: a target cannot be read or reached, or a cost is not finite.
        """
        costs = {name: read_cost(model, name) for name in self.targets}
        if not self.limits:
            self._start(model, {name: float(cost.detach()) for name, cost in costs.items()})
        self._grow(costs, epoch, n_epochs)
        ramp = min(0.01 + 0.99 * epoch / (n_epochs / 2), 1.0)
        terms = [
            torch.relu(cost - self.limits[name]) * (ramp * self.grown[name] * self.strengths[name])
            for name, cost in costs.items()
        ]
        return torch.stack([term.to(terms[0].device) for term in terms]).sum()

    def met(self, model: Searched, tolerance: float = 0.0) -> bool:
        """Whether the model is within all limits, give or take a share ``tolerance`` of each."""
        if not self.limits:
            self._start(model, {name: float(read_cost(model, name).detach()) for name in self.targets})
        return all(
            float(read_cost(model, name).detach()) <= limit * (1 + tolerance) for name, limit in self.limits.items()
        )

    def state_dict(self) -> dict[str, Any]:
        """What the first call measured, and how much the strengths have grown."""
        return {
            "limits": dict(self.limits),
            "strengths": dict(self.strengths),
            "grown": dict(self.grown),
            "last_epoch": self._last_epoch,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another DUCCIO stopped."""
        self.limits, self.strengths = dict(state["limits"]), dict(state["strengths"])
        self.grown, self._last_epoch = dict(state["grown"]), state["last_epoch"]

    def _start(self, model: Searched, initial: Mapping[str, float]) -> None:
        specification = model.cost_specification
        limits: dict[str, float] = {}
        strengths = dict(self.strengths)
        for name, target in self.targets.items():
            if not math.isfinite(initial[name]):
                raise UsageError("A cost is not finite at the start of the search", where=name, got=initial[name])
            cost = specification[name] if isinstance(specification, Mapping) else specification
            limits[name] = limit = parse(target, initial[name], unit_of(cost))
            if not (math.isfinite(limit) and limit >= 0):
                raise UsageError("A target must be a finite amount", where=name, got=limit, expected=">= 0")
            if self.check:
                _reachable(model, name, limit, initial[name])
            if self.task_loss is not None:
                distance = max(initial[name] - limit, MARGIN * limit)
                strengths[name] = self.task_loss / (distance if distance > 0 else 1.0)
        self.limits, self.strengths = limits, strengths

    def _grow(self, costs: Mapping[str, Tensor], epoch: int, n_epochs: int) -> None:
        if self._last_epoch is not None and epoch > self._last_epoch and epoch > n_epochs / 2:
            for name, cost in costs.items():
                if float(cost.detach()) > self.limits[name]:
                    self.grown[name] *= self.growth
        self._last_epoch = epoch


def _reachable(model: Searched, name: str, limit: float, initial: float) -> None:
    least = least_cost(model, name)
    if limit < least * (1 - 1e-6):
        raise UsageError(
            "No model in the search space meets this target",
            where=name,
            got=f"{limit:g}",
            expected=f"{least:g} or more, the least that can be reached; at the start it is {initial:g}",
            hints=["Raise the target.", "Widen the search space: smaller branches, fewer excluded layers."],
        )


def _strengths(names: Mapping[str, Any], given: Mapping[str, float] | Sequence[float]) -> dict[str, float]:
    if not isinstance(given, Mapping):
        if len(given) != len(names):
            raise UsageError("DUCCIO needs one strength per target", got=len(given), expected=len(names))
        given = dict(zip(names, given, strict=True))
    if set(given) != set(names):
        raise UsageError(
            "DUCCIO's strengths and targets name different costs", got=sorted(given), expected=sorted(names)
        )
    return {name: _positive(given[name], f"The strength for {name!r}") for name in names}


def _positive(value: float, what: str) -> float:
    if not (math.isfinite(value) and value > 0):
        raise UsageError(f"{what} must be a positive number", got=value, expected="> 0 and finite")
    return float(value)


Regularizer = Callable[..., Tensor]
"""Any of the above, or a user's own: from (model, epoch, n_epochs) to a term of the loss."""
