# SPDX-License-Identifier: Apache-2.0
"""Which mask element governs which index: integers that can be declared equal (union-find).

A tensor whose channels may be pruned carries one identifier per channel. Two channels that must live or die together
(the operands of an add) have their identifiers unified; ``FROZEN`` is the identifier of what always stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

IdArray = NDArray[np.int64]

FROZEN = 0


class Ids:
    """A growing union-find over integers; ``FROZEN`` is always its own representative."""

    def __init__(self) -> None:
        self._parent: list[int] = [FROZEN]

    def fresh(self, count: int) -> IdArray:
        """``count`` new identifiers, equal to nothing yet."""
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        return np.arange(first, first + count, dtype=np.int64)

    def _root(self, item: int) -> int:
        parent = self._parent
        root = item
        while parent[root] != root:
            root = parent[root]
        while parent[item] != root:
            parent[item], item = root, parent[item]
        return root

    def unify(self, left: IdArray, right: IdArray) -> None:
        """Declare ``left[i]`` and ``right[i]`` equal, for every i (broadcasting)."""
        pairs = np.stack(np.broadcast_arrays(left, right), axis=-1).reshape(-1, 2)
        if len(pairs) > 64:
            pairs = np.unique(pairs, axis=0)
        for first, second in pairs.tolist():
            a, b = self._root(first), self._root(second)
            if a != b:  # the smaller one leads, so FROZEN stays FROZEN and the order of creation is kept
                self._parent[max(a, b)] = min(a, b)

    def freeze(self, items: IdArray) -> None:
        """Declare that these always stay."""
        self.unify(items, np.zeros_like(items))

    def find(self, items: IdArray) -> IdArray:
        """The representative of each identifier."""
        unique, where = np.unique(items, return_inverse=True)
        roots = np.array([self._root(item) for item in unique.tolist()], dtype=np.int64)
        return roots[where].reshape(items.shape)


@dataclass(frozen=True, eq=False)
class Features:
    """The axis of a tensor along which channels may vanish, and the identifier of each index of that axis."""

    axis: int
    ids: IdArray


def spread(features: Features | None, shape: torch.Size) -> Tensor:
    """Identifiers of every element of a tensor, without using memory for the axes that do not matter."""
    if features is None:
        return torch.zeros((), dtype=torch.int64).expand(shape)
    view = [1] * len(shape)
    view[features.axis] = shape[features.axis]
    return torch.from_numpy(features.ids.copy()).reshape(view).expand(shape)


def varying_axes(ids: Tensor) -> list[int]:
    """Axes along which the identifiers differ."""
    found = []
    for axis in range(ids.dim()):
        if ids.shape[axis] < 2 or ids.stride(axis) == 0:
            continue
        first = ids.select(axis, 0).unsqueeze(axis)
        if not bool((ids == first).all()):
            found.append(axis)
    return found
