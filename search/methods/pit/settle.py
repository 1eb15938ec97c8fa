# SPDX-License-Identifier: Apache-2.0
"""Bring a searched network to a limit exactly: the search ranks the channels, the limit says how many of them stay.

A gradient hovers around a limit, give or take some channels; what is built has to fit.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from plinio_deploy.errors import UsageError
from plinio_deploy.search.methods.pit.masks import THRESHOLD, FeatureMask

TRIES = 64
"""How many of the best-ranked channels that did not make it are tried for the room that is left."""


def settle(masks: list[FeatureMask], cost: Callable[[], float], limit: float) -> float:
    """Let the highest-ranked channels live, as many as the limit allows.

    All parameters of all masks are ranked by theta. The longest prefix of that order that meets the limit stays; the
    room that is left goes to later ones that still fit. Costs must not fall when a channel comes to life.

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
    order = _ranked(masks)
    alive = 0
    _apply(masks, before, order[:0])
    least = cost()
    if least > limit:
        for mask, alpha in zip(masks, before, strict=True):
            mask.alpha.data.copy_(alpha)
        raise UsageError("no choice of channels meets this limit", got=f"{limit:g}", expected=f"{least:g} or more")
    low, high = 0, len(order) + 1
    while high - low > 1:
        alive = (low + high) // 2
        _apply(masks, before, order[:alive])
        low, high = (alive, high) if cost() <= limit else (low, alive)
    chosen = order[:low]
    for candidate in order[low : low + TRIES]:
        _apply(masks, before, [*chosen, candidate])
        if cost() <= limit:
            chosen = [*chosen, candidate]
    _apply(masks, before, chosen)
    return cost()


def _ranked(masks: list[FeatureMask]) -> list[tuple[int, int]]:
    """(mask, parameter) of all that are not kept anyway, by theta from the greatest; equals stay in order."""
    scores = [
        (float(theta), which, index)
        for which, mask in enumerate(masks)
        for index, theta in enumerate(mask.theta().detach())
        if not mask.kept[index]
    ]
    return [(which, index) for _, which, index in sorted(scores, key=lambda item: -item[0])]


@torch.no_grad()
def _apply(masks: list[FeatureMask], before: list[Tensor], living: list[tuple[int, int]]) -> None:
    """Move the parameters over the threshold where a channel lives and under it elsewhere, others stay."""
    for which, mask in enumerate(masks):
        alive = torch.zeros_like(before[which], dtype=torch.bool)
        alive[[index for owner, index in living if owner == which]] = True
        size = before[which].abs()
        over, under = size.clamp(min=THRESHOLD + 2.0**-10), size.clamp(max=THRESHOLD)
        kept = mask.kept.bool()
        mask.alpha.copy_(torch.where(kept, before[which], torch.where(alive, over, under)))
