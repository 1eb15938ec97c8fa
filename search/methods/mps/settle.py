# SPDX-License-Identifier: Apache-2.0
"""Bring a search of precisions to a limit exactly: the search says what a bit is worth where, the limit what it costs.

Each logit gets a price that grows with the bits it stands for; the price is one number for the whole network, raised or
lowered until the cost just meets the limit. A search that ends above its limit, or far below it, is mended by that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from plinio_deploy.errors import UsageError
from plinio_deploy.search.methods.mps.choice import Choice

HALVINGS = 24
"""Of the range of prices: enough to separate logits that differ by a millionth of their range."""

FILLERS = 64
"""How many of the channels between the last two prices are tried for the room that is left."""


def settle(choices: Sequence[Choice], cost: Callable[[], float], limit: float) -> float:
    """Put one price on the bits of all choices, such that the cost is the greatest within the limit.

    Args:
        choices: of weights, one logit per precision, or per precision and channel; changed in place.
        cost: of the network as it would be exported. Must not fall when bits are added.
        limit: the greatest cost that is allowed, in the unit of ``cost``.

    Returns:
        The cost now, at most ``limit``.

    Raises:
        UsageError: the least precisions everywhere cost more; the choices are as they were.
    """
    before = [choice.alpha.detach().clone() for choice in choices]
    reach = 1.0 + 2 * max(float(alpha.max() - alpha.min()) for alpha in before)
    steps = min(second - first for choice in choices for first, second in _pairs(choice))
    most = reach * max(max(choice.precisions) for choice in choices) / steps

    def at(price: float) -> float:
        _apply(choices, before, price)
        return cost()

    low, high = -most, most
    if at(low) <= limit:
        return cost()
    if at(high) > limit:
        least = cost()
        _apply(choices, before, 0.0)
        raise UsageError("no choice of precisions meets this limit", got=f"{limit:g}", expected=f"{least:g} or more")
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if at(middle) <= limit else (middle, high)
    _apply(choices, before, low)
    dearer = [choice.alpha.detach().clone() for choice in choices]
    reached = at(high)
    return _fill(choices, dearer, cost, limit, reached)


def _pairs(choice: Choice) -> list[tuple[int, int]]:
    ordered = sorted(choice.precisions)
    return list(pairwise(ordered)) or [(0, 1)]


@torch.no_grad()
def _apply(choices: Sequence[Choice], before: Sequence[Tensor], price: float) -> None:
    for choice, alpha in zip(choices, before, strict=True):
        bits = torch.tensor(choice.precisions, dtype=alpha.dtype, device=alpha.device) / max(choice.precisions)
        choice.alpha.copy_(alpha - price * bits.view(-1, *(1,) * (alpha.dim() - 1)))


@torch.no_grad()
def _fill(
    choices: Sequence[Choice], dearer: Sequence[Tensor], cost: Callable[[], float], limit: float, reached: float
) -> float:
    """Take the next price's logits channel by channel where that still fits: equal logits would all flip at once."""
    tries = 0
    for choice, other in zip(choices, dearer, strict=True):
        differs = choice.alpha.argmax(0) != other.argmax(0)
        for channel in differs.reshape(-1).nonzero().flatten().tolist():
            if tries == FILLERS:
                return reached
            tries += 1
            column = (slice(None), channel) if choice.alpha.dim() == 2 else (slice(None),)
            kept = choice.alpha[column].clone()
            choice.alpha[column] = other[column]
            now = cost()
            if now <= limit:
                reached = now
            else:
                choice.alpha[column] = kept
    return reached
