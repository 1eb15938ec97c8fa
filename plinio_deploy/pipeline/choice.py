# SPDX-License-Identifier: Apache-2.0
"""One candidate per layer: the least cost that stays within limits on flash and arena.

What layers share is paid once, and the arena is not a sum, so this is no plain knapsack. From several starting points,
changes of one layer or of a group first bring an assignment within the limits, at the least cost per byte,
and then lower its cost, at the least bytes per gain. Without limits that is the optimum; with limits it is within them,
and no single change of those tried would be better. The same input always gives the same choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

Choice = tuple[int, ...]
"""Position of the chosen candidate of each layer."""


@dataclass(frozen=True)
class Candidate:
    """One way to execute a layer.

    Attributes:
        kernel: its name.
        cost: cycles or instructions of one call, measured.
        flash: bytes of code and constants that are the layer's own.
        scratch: bytes of arena it takes besides its tensors.
        parts: bytes of code that it may share with other layers, by the identity of that code.
    """

    kernel: str
    cost: int
    flash: int
    scratch: int = 0
    parts: Mapping[str, int] = field(default_factory=dict)

    @property
    def alone(self) -> int:
        """Bytes of flash if nothing is shared."""
        return self.flash + sum(self.parts.values())


@dataclass(frozen=True)
class Problem:
    """What to choose from.

    Attributes:
        layers: the candidates of each layer, the default one first.
        max_flash: bytes of flash that all layers together may take; ``None`` for no limit.
        max_arena: bytes of arena; ``None`` for no limit.
        arena: bytes of arena of a choice, as the memory planner places it.
    """

    layers: Sequence[Sequence[Candidate]]
    max_flash: int | None = None
    max_arena: int | None = None
    arena: Callable[[Choice], int] = lambda _: 0

    def picked(self, choice: Choice) -> list[Candidate]:
        """The chosen candidates."""
        return [candidates[index] for candidates, index in zip(self.layers, choice, strict=True)]

    def cost(self, choice: Choice) -> int:
        """Of all layers."""
        return sum(candidate.cost for candidate in self.picked(choice))

    def flash(self, choice: Choice) -> int:
        """Bytes of all layers, what they share counted once."""
        picked = self.picked(choice)
        shared = {name: size for candidate in picked for name, size in candidate.parts.items()}
        return sum(candidate.flash for candidate in picked) + sum(shared.values())

    def excess(self, choice: Choice) -> int:
        """Bytes above the limits; 0 if it stays within both."""
        over = 0 if self.max_flash is None else max(0, self.flash(choice) - self.max_flash)
        return over if self.max_arena is None else over + max(0, self.arena(choice) - self.max_arena)


def choose(problem: Problem) -> Choice | None:
    """The cheapest choice found within the limits; ``None`` if none was found."""
    keys: list[Callable[[Candidate], tuple[int, ...]]] = [
        lambda candidate: (candidate.cost, candidate.alone),
        lambda candidate: (candidate.alone, candidate.cost),
        lambda candidate: (candidate.scratch, candidate.alone, candidate.cost),
    ]
    starts = [
        tuple(0 for _ in problem.layers),
        *(tuple(_least(layer, key) for layer in problem.layers) for key in keys),
    ]
    found = [
        _improved(problem, repaired)
        for start in dict.fromkeys(starts)
        if (repaired := _repaired(problem, start)) is not None
    ]
    return min(found, key=lambda choice: (problem.cost(choice), problem.flash(choice), choice), default=None)


def _least(
    candidates: Sequence[Candidate],
    key: Callable[[Candidate], tuple[int, ...]],
    allowed: Callable[[Candidate], bool] = lambda _: True,
) -> int:
    """Position of the least candidate among those allowed, or among all if none is; the first of equals."""
    able = [index for index, candidate in enumerate(candidates) if allowed(candidate)] or list(range(len(candidates)))
    return min(able, key=lambda index: (*key(candidates[index]), index))


def _moves(problem: Problem, choice: Choice) -> Iterator[Choice]:
    """Choices one change away: of one layer, of all that can or do share a part, of all with much scratch."""
    for index, candidates in enumerate(problem.layers):
        for other in range(len(candidates)):
            if other != choice[index]:
                yield (*choice[:index], other, *choice[index + 1 :])

    def all_to(allowed: Callable[[Candidate], bool]) -> Choice:
        return tuple(
            _least(candidates, lambda candidate: (candidate.cost, candidate.alone), allowed)
            if not allowed(candidates[index]) and any(map(allowed, candidates))
            else index
            for candidates, index in zip(problem.layers, choice, strict=True)
        )

    for part in sorted({name for layer in problem.layers for candidate in layer for name in candidate.parts}):
        yield all_to(partial(_has, part))
        yield all_to(partial(_lacks, part))
    if problem.max_arena is not None:
        for size in sorted({candidate.scratch for layer in problem.layers for candidate in layer}):
            yield all_to(partial(_takes_at_most, size))


def _has(part: str, candidate: Candidate) -> bool:
    return part in candidate.parts


def _lacks(part: str, candidate: Candidate) -> bool:
    return part not in candidate.parts


def _takes_at_most(scratch: int, candidate: Candidate) -> bool:
    return candidate.scratch <= scratch


def _repaired(problem: Problem, choice: Choice) -> Choice | None:
    """A choice within the limits, by the changes that cost least per byte; ``None`` if none brings it there."""
    while excess := problem.excess(choice):
        cost = problem.cost(choice)
        able = [(other, left) for other in _moves(problem, choice) if (left := problem.excess(other)) < excess]
        if not able:
            return None
        choice = min(able, key=lambda item: ((problem.cost(item[0]) - cost) / (excess - item[1]), item[1], item[0]))[0]
    return choice


def _improved(problem: Problem, choice: Choice) -> Choice:
    """A choice within the limits that no change makes cheaper, by the changes that gain most per byte."""
    while True:
        cost, flash = problem.cost(choice), problem.flash(choice)

        def rank(other: Choice, cost: int = cost, flash: int = flash) -> tuple[float, int, Choice]:
            gain, taken = cost - problem.cost(other), problem.flash(other) - flash
            return (-gain / taken if taken > 0 else float("-inf"), -gain, other)

        better = [
            other for other in _moves(problem, choice) if problem.cost(other) < cost and not problem.excess(other)
        ]
        if not better:
            return choice
        choice = min(better, key=rank)
