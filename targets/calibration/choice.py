# SPDX-License-Identifier: Apache-2.0
"""Which kernel a layer gets, as a tree of questions about its attributes.

The code generator decides that with its own rules. A search must not depend on the code generator, and its layers have
no weights yet, so a table carries what calibration learned by asking the code generator about many layers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TypeAlias

from plinio_deploy.targets.calibration.attributes import ATTRIBUTES

Tree: TypeAlias = "str | tuple[str, float, Tree, Tree]"
"""A kernel's name, or (attribute, limit, tree if at most the limit, tree if above it)."""

DEPTH = 7

Case: TypeAlias = "tuple[Mapping[str, float], str]"
"""Attributes of a layer, and its kernel."""


def choose(tree: Tree, attributes: Mapping[str, float]) -> str:
    """The kernel of a layer."""
    while not isinstance(tree, str):
        name, limit, below, above = tree
        tree = below if attributes[name] <= limit else above
    return tree


def learn(cases: Sequence[Case], depth: int = DEPTH) -> Tree:
    """The smallest tree that greedy splitting finds.

    Args:
        cases: at least one.
        depth: questions in a row, at most.
    """
    kernels = Counter(kernel for _, kernel in cases)
    usual = kernels.most_common(1)[0][0]
    if len(kernels) == 1 or depth == 0:
        return usual
    best: tuple[float, str, float] | None = None
    for name in ATTRIBUTES:
        values = sorted({attributes[name] for attributes, _ in cases})
        for low, high in pairwise(values):
            limit = (low + high) / 2
            impurity = _impurity(cases, name, limit)
            if best is None or impurity < best[0] - 1e-9:
                best = (impurity, name, limit)
    if best is None or best[0] >= _gini(kernels) - 1e-9:
        return usual
    _, name, limit = best
    below = learn([case for case in cases if case[0][name] <= limit], depth - 1)
    above = learn([case for case in cases if case[0][name] > limit], depth - 1)
    return below if below == above else (name, round(limit, 4), below, above)


def _impurity(cases: Sequence[Case], name: str, limit: float) -> float:
    sides: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for attributes, kernel in cases:
        sides[attributes[name] > limit][kernel] += 1
    return sum(_gini(side) for side in sides)


def _gini(kernels: Counter[str]) -> float:
    total = sum(kernels.values())
    return total - sum(count * count for count in kernels.values()) / total if total else 0.0
