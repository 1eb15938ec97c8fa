# SPDX-License-Identifier: Apache-2.0
"""Trained networks as points of size and accuracy: fronts of them, and what a search gains over uniform widths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any


@dataclass
class Point:
    """One trained network.

    Attributes:
        method: ``width``, ``pit``, ``supernet``, ``supernet-pit`` or ``pit-duccio``.
        setting: width, strength or target.
        seed: of everything random.
        size_bytes: weights at 8 bits.
        macs: multiply-accumulates.
        ram_bytes: peak of activations at 8 bits.
        accuracy: on the test images, in percent.
        seconds: wall time of all phases.
        details: what was chosen.
    """

    method: str
    setting: float | str
    seed: int
    size_bytes: float
    macs: float
    ram_bytes: float
    accuracy: float
    seconds: float
    details: dict[str, Any] = field(default_factory=dict)


def front(points: Sequence[Point]) -> list[tuple[float, float]]:
    """Sizes and accuracies that no other point beats in both, means over seeds, by size."""
    groups: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        groups.setdefault((point.method, str(point.setting)), []).append(point)
    means = sorted((mean(g, "size_bytes"), mean(g, "accuracy")) for g in groups.values())
    kept: list[tuple[float, float]] = []
    for size, accuracy in means:
        if not kept or accuracy > kept[-1][1]:
            kept.append((size, accuracy))
    return kept


def at_size(kept: Sequence[tuple[float, float]], size: float) -> float | None:
    """Accuracy of a front at a size: linear in the logarithm of size between points; None below the smallest."""
    if not kept or size < kept[0][0]:
        return None
    for (a, low), (b, high) in pairwise(kept):
        if size <= b:
            return low + (high - low) * math.log(size / a) / math.log(b / a)
    return kept[-1][1]


def compare(points: Sequence[Point], fractions: Sequence[float] = (0.25, 0.4, 0.6)) -> dict[str, Any]:
    """Each method against uniform widths at three sizes, and how small it gets at the accuracy of the seed."""
    widths = [p for p in points if p.method == "width"]
    seeds = [p for p in widths if p.setting == 1.0]
    if not seeds:
        return {}
    seed_size, seed_accuracy = mean(seeds, "size_bytes"), mean(seeds, "accuracy")
    found: dict[str, Any] = {"seed": {"size_bytes": seed_size, "accuracy": seed_accuracy}}
    for method in dict.fromkeys(p.method for p in points if p.method != "width"):
        own = front([p for p in points if p.method == method])
        rows = []
        for fraction in fractions:
            ours, theirs = at_size(own, fraction * seed_size), at_size(front(widths), fraction * seed_size)
            gain = None if ours is None or theirs is None else round(ours - theirs, 3)
            rows.append({"size_fraction": fraction, "accuracy": ours, "uniform_width": theirs, "gain": gain})
        reduction = _reduction(own, seed_size, seed_accuracy)
        found[method] = {"at_equal_size": rows, "reduction_percent_at_no_loss": reduction, "front": own}
    return found


def _reduction(own: Sequence[tuple[float, float]], size: float, accuracy: float) -> float | None:
    """Percent by which the smallest network of a front that is at least as accurate is smaller."""
    lossless = [each for each, reached in own if reached >= accuracy]
    return round(100 * (1 - min(lossless) / size), 2) if lossless else None


def mean(points: Sequence[Point], name: str) -> float:
    """Of a number of several points."""
    return sum(float(getattr(point, name)) for point in points) / len(points)
