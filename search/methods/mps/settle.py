# SPDX-License-Identifier: Apache-2.0
"""Bring a search of precisions to a limit exactly: the search says what a bit is worth where, the limit what it costs.

Each logit gets a price that grows with the bits it stands for and with what a bit costs in its place: the price is one
number for the whole network, raised or lowered until the cost just meets the limit. A search that ends above its limit,
or far below it, is mended by that, with the least loss of what the search prefers per unit of the cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from plinio_deploy.errors import UsageError
from plinio_deploy.search.methods.mps.choice import Choice

HALVINGS = 30
"""Of the range of prices: enough to separate logits that differ by a millionth of their range."""

FILLERS = 64
"""How many of the next dearer precisions are tried for the room that is left."""

MARGIN = 0.3
"""By how much a choice leads: with less the first steps of an optimizer would undo it, and undo that again."""

CHEAPEST = 0.02
"""Of the mean: what a bit costs at least, so that every choice has a price."""


def settle(choices: Sequence[Choice], cost: Callable[[], float], limit: float) -> float:
    """Put one price on the bits of all choices, such that the cost is the greatest within the limit.

    Args:
        choices: of weights, one logit per precision, or per precision and channel; changed in place. May be empty:
            then the cost is what it is.
        cost: of the network as it would be exported. Must not fall when bits are added.
        limit: the greatest cost that is allowed, in the unit of ``cost``.

    Returns:
        The cost now, at most ``limit``.

    Raises:
        UsageError: the least precisions everywhere cost more; the choices are as they were.
    """
    before = [choice.alpha.detach().clone() for choice in choices]
    if not choices:
        now = cost()
        if now > limit:
            raise UsageError("no choice of precisions meets this limit", got=f"{limit:g}", expected=f"{now:g} or more")
        return now
    weights = _costs_of_a_bit(choices, cost)
    reach = 1.0 + 2 * max(float(alpha.max() - alpha.min()) for alpha in before)
    steps = min(second - first for choice in choices for first, second in _pairs(choice))
    most = reach * max(max(choice.precisions) for choice in choices) / steps / min(weights)

    def at(price: float) -> float:
        _apply(choices, before, weights, price)
        return cost()

    low, high = -most, most
    if at(low) <= limit:
        return cost()
    if at(high) > limit:
        least = cost()
        _apply(choices, before, weights, 0.0)
        raise UsageError("no choice of precisions meets this limit", got=f"{limit:g}", expected=f"{least:g} or more")
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if at(middle) <= limit else (middle, high)
    reached = _lead_all(choices, cost, limit, at(high))
    return _fill(choices, _upgrades(choices, before, weights), cost, limit, reached)


def _pairs(choice: Choice) -> list[tuple[int, int]]:
    ordered = sorted(choice.precisions)
    return list(pairwise(ordered)) or [(0, 1)]


@torch.no_grad()
def _costs_of_a_bit(choices: Sequence[Choice], cost: Callable[[], float]) -> list[float]:
    """What a bit of one channel (of a layer that has one choice: of all) costs, relative to the mean over choices.

    Measured between the greatest precisions and the least but 0 of one choice after the other; 1 where that is the
    same. Logits are changed.
    """
    for choice in choices:
        _take(choice, -1)
    whole = cost()
    found: list[float | None] = []
    for choice in choices:
        least = 1 if choice.precisions[0] == 0 else 0
        bits = (choice.precisions[-1] - choice.precisions[least]) * choice.alpha[0].numel()
        if bits == 0:
            found.append(None)
            continue
        _take(choice, least)
        found.append(max(0.0, whole - cost()) / bits)
        _take(choice, -1)
    known = [each for each in found if each is not None]
    mean = sum(known) / len(known) if known else 0.0
    return [1.0 if each is None or mean == 0.0 else max(CHEAPEST, each / mean) for each in found]


def _take(choice: Choice, index: int) -> None:
    choice.alpha.zero_()
    choice.alpha[index] = 1.0


@torch.no_grad()
def _apply(choices: Sequence[Choice], before: Sequence[Tensor], weights: Sequence[float], price: float) -> None:
    for choice, alpha, weight in zip(choices, before, weights, strict=True):
        bits = torch.tensor(choice.precisions, dtype=alpha.dtype, device=alpha.device) / max(choice.precisions)
        choice.alpha.copy_(alpha - price * weight * bits.view(-1, *(1,) * (alpha.dim() - 1)))


@torch.no_grad()
def _lead_all(choices: Sequence[Choice], cost: Callable[[], float], limit: float, reached: float) -> float:
    """Give all choices their `MARGIN`; not if that brings back channels that tied layers have pruned together."""
    before = [choice.alpha.detach().clone() for choice in choices]
    for choice in choices:
        _lead(choice.alpha, choice.alpha.argmax(0, keepdim=True))
    now = cost()
    if now <= limit:
        return now
    for choice, alpha in zip(choices, before, strict=True):
        choice.alpha.copy_(alpha)
    return reached


@torch.no_grad()
def _lead(alpha: Tensor, chosen: Tensor) -> None:
    """Raise the chosen logits, by index ``(1, ...)``, until they lead by `MARGIN`."""
    others = alpha.scatter(0, chosen, -torch.inf).amax(0, keepdim=True)
    alpha.scatter_(0, chosen, torch.maximum(alpha.gather(0, chosen), others + MARGIN))


@dataclass(frozen=True)
class _Upgrade:
    """A dearer precision of one channel: the price at which it would be chosen, which choice, channel and logit."""

    price: float
    which: int
    channel: int
    index: int


@torch.no_grad()
def _upgrades(choices: Sequence[Choice], before: Sequence[Tensor], weights: Sequence[float]) -> list[_Upgrade]:
    """All of them, those that fall short of being chosen by the least first."""
    found = []
    for which, (choice, alpha, weight) in enumerate(zip(choices, before, weights, strict=True)):
        flat = alpha.reshape(len(alpha), -1)
        for channel, now in enumerate(choice.alpha.argmax(0).reshape(-1).tolist()):
            for index in range(now + 1, len(flat)):
                bits = choice.precisions[index] - choice.precisions[now]
                price = float(flat[index, channel] - flat[now, channel]) / (weight * bits)
                found.append(_Upgrade(price, which, channel, index))
    return sorted(found, key=lambda upgrade: -upgrade.price)


@torch.no_grad()
def _fill(
    choices: Sequence[Choice], upgrades: Sequence[_Upgrade], cost: Callable[[], float], limit: float, reached: float
) -> float:
    """Take further bits channel by channel where they still fit: equal logits would all flip at once."""
    tries = 0
    for upgrade in upgrades:
        alpha = choices[upgrade.which].alpha
        column = alpha.view(len(alpha), -1)[:, upgrade.channel]
        if tries >= FILLERS:
            break
        if upgrade.index <= int(column.argmax()):
            continue
        tries += 1
        kept = column.clone()
        _lead(column, torch.tensor([upgrade.index], device=column.device))
        now = cost()
        if now <= limit:
            reached = now
        else:
            column.copy_(kept)
    return reached
