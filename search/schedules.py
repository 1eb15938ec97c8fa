# SPDX-License-Identifier: Apache-2.0
"""How a strength or a temperature changes over a search: functions of progress, from 0 (start) to 1 (end)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from plinio_deploy.errors import UsageError

Schedule: TypeAlias = "Callable[[float], float]"
"""From progress in [0, 1] to a value; progress outside is taken as the nearer end."""


def progress(epoch: int, n_epochs: int) -> float:
    """How far a search is at an epoch.

    Args:
        epoch: counted from 0; the last one is ``n_epochs - 1``.
        n_epochs: epochs of the whole search, at least 1.

    Returns:
        0 in the first epoch, 1 in the last (and in the only one).
    """
    if n_epochs < 1:
        raise UsageError("A search has at least one epoch", got=n_epochs, expected=">= 1")
    return 1.0 if n_epochs == 1 else min(max(epoch / (n_epochs - 1), 0.0), 1.0)


def constant(value: float) -> Schedule:
    """The same value all along."""
    return lambda _: value


def linear(start: float, end: float, until: float = 1.0) -> Schedule:
    """A straight line that reaches ``end`` at progress ``until`` and stays there."""
    return lambda at: start + (end - start) * _share(at, until)


def exponential(start: float, end: float, until: float = 1.0) -> Schedule:
    """Equal factors in equal times; reaches ``end`` at progress ``until``. Usual for temperatures.

    Raises:
        UsageError: an end is not positive.
    """
    if not (start > 0 and end > 0):
        raise UsageError("An exponential schedule needs positive ends", got=f"{start} to {end}", expected="> 0")
    return lambda at: start * (end / start) ** _share(at, until)


def cosine(start: float, end: float, until: float = 1.0) -> Schedule:
    """Half a cosine: slow, fast, slow; reaches ``end`` at progress ``until``."""
    return lambda at: end + (start - end) * (1 + math.cos(math.pi * _share(at, until))) / 2


def delayed(schedule: Schedule, start: float) -> Schedule:
    """0 before progress ``start``, then the whole schedule in the time that is left.

    Raises:
        UsageError: ``start`` is outside [0, 1).
    """
    if not 0 <= start < 1:
        raise UsageError("A delayed schedule starts within the search", got=start, expected="[0, 1)")
    return lambda at: 0.0 if at < start else schedule((at - start) / (1 - start))


def _share(at: float, until: float) -> float:
    if until <= 0:
        return 1.0
    return min(max(at / until, 0.0), 1.0)
