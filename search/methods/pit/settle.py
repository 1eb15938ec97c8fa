# SPDX-License-Identifier: Apache-2.0
"""Bring a searched network to a limit exactly: the search ranks the channels, the limit says how many of them stay.

A gradient hovers around a limit, give or take some channels; what is built has to fit. Nor does a gradient see steps:
where kernels work on four channels at a time the fifth costs as much as the fifth to eighth, so channels are taken in
the steps in which the cost rises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from plinio_deploy.errors import UsageError
from plinio_deploy.search.methods.pit.masks import THRESHOLD, FeatureMask

TRIES = 64
"""How many of the best-ranked steps that did not make it are tried for the room that is left."""

FLAT = 0.02
"""How far above the best line the cost of a step may lie, as a share of all that a mask can save."""

FINE = 64
"""Channels of one mask up to which every count may be a step; above it, every fourth."""


@dataclass(frozen=True)
class _Step:
    """Channels of one mask that live or die together: mean theta, which mask, which of its parameters."""

    score: float
    which: int
    members: tuple[int, ...]


@torch.no_grad()
def settle(masks: list[FeatureMask], cost: Callable[[], float], limit: float) -> float:
    """Let the highest-ranked channels live, as many as the limit allows.

    In each mask parameters are ranked by theta and taken in steps, those of all masks in the order of their mean theta.
    The longest prefix of that order that meets the limit stays; the room that is left goes to later steps that fit.

    Args:
        masks: the masks of one search; only trainable ones are touched.
        cost: the cost of the network as its masks stand, counting living channels.
        limit: the greatest cost that is allowed, in the unit of ``cost``.

    Returns:
        The cost now, at most ``limit``.

    Raises:
        UsageError: the cost is above the limit with every channel gone that may go; the masks are as they were.
    """
    masks = [mask for mask in masks if mask.alpha.requires_grad]
    before = [mask.alpha.detach().clone() for mask in masks]
    ranked = [_ranked(mask) for mask in masks]
    _apply(masks, before, [() for _ in masks])
    least = cost()
    if least > limit:
        for mask, alpha in zip(masks, before, strict=True):
            mask.alpha.copy_(alpha)
        raise UsageError("no choice of channels meets this limit", got=f"{limit:g}", expected=f"{least:g} or more")
    steps = [step for which in range(len(masks)) for step in _steps(masks, before, ranked, which, cost)]
    steps.sort(key=lambda step: -step.score)

    def cost_of(chosen: Sequence[_Step]) -> float:
        _apply(
            masks, before, [[i for s in chosen if s.which == which for i in s.members] for which in range(len(masks))]
        )
        return cost()

    low, high = 0, len(steps) + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost_of(steps[:middle]) <= limit else (low, middle)
    chosen, full = steps[:low], set[int]()
    for step in steps[low : low + TRIES]:
        if step.which in full:
            continue  # its mask has no room for a better one
        if cost_of([*chosen, step]) <= limit:
            chosen = [*chosen, step]
        else:
            full.add(step.which)
    return cost_of(chosen)


def _ranked(mask: FeatureMask) -> list[tuple[float, int]]:
    """(theta, parameter) of all that are not kept anyway, from the greatest; equals stay in order."""
    thetas = enumerate(mask.theta().detach().tolist())
    return sorted(((theta, i) for i, theta in thetas if not mask.kept[i]), key=lambda item: -item[0])


def _steps(
    masks: list[FeatureMask],
    before: list[Tensor],
    ranked: list[list[tuple[float, int]]],
    which: int,
    cost: Callable[[], float],
) -> list[_Step]:
    """The steps of one mask, from the highest ranked on, where all others live: between counts of `_edges`."""
    order = ranked[which]
    alive: list[Sequence[int]] = [[i for _, i in other] for other in ranked]
    points = []
    for count in range(len(order) + 1):
        if len(order) <= FINE or count % 4 == 0 or count == len(order):
            alive[which] = [i for _, i in order[:count]]
            _apply(masks, before, alive)
            points.append((count, cost()))
    counts = _edges(points)
    found = []
    for start, end in pairwise(counts):
        members = order[start:end]
        found.append(_Step(sum(theta for theta, _ in members) / len(members), which, tuple(i for _, i in members)))
    return found


def _edges(points: Sequence[tuple[int, float]]) -> list[int]:
    """Counts near the lower convex hull of (count, cost), first and last included."""
    hull: list[tuple[int, float]] = []
    for x, y in points:
        while len(hull) > 1 and _above(hull[-2], (x, y), hull[-1]) >= 0:
            hull.pop()
        hull.append((x, y))
    costs = [y for _, y in points]
    near = FLAT * (max(costs) - min(costs))
    found = [x for a, b in pairwise(hull) for x, y in points if a[0] <= x < b[0] and _above(a, b, (x, y)) <= near]
    return [*found, points[-1][0]]


def _above(a: tuple[int, float], b: tuple[int, float], at: tuple[int, float]) -> float:
    """How far a point lies above the line through two others."""
    return at[1] - (a[1] + (b[1] - a[1]) * (at[0] - a[0]) / (b[0] - a[0]))


@torch.no_grad()
def _apply(masks: list[FeatureMask], before: list[Tensor], living: Sequence[Sequence[int]]) -> None:
    """Move the parameters over the threshold where a channel lives and under it elsewhere, others stay."""
    for mask, own, indices in zip(masks, before, living, strict=True):
        alive = torch.zeros_like(own, dtype=torch.bool)
        alive[list(indices)] = True
        size = own.abs()
        over, under = size.clamp(min=THRESHOLD + 2.0**-10), size.clamp(max=THRESHOLD)
        kept = mask.kept.bool()
        mask.alpha.copy_(torch.where(kept, own, torch.where(alive, over, under)))
