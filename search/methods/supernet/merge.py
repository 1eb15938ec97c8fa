# SPDX-License-Identifier: Apache-2.0
"""Branches that are linear maps are mixed in weight space: one convolution runs instead of one per branch.

Linear branches (:mod:`~plinio_deploy.search.methods.supernet.linear`) whose kernels sit on the same centre with the
same stride differ only in which taps they have, so

    sum_i theta_i * (W_i * x + b_i) = (sum_i theta_i * pad(W_i)) * x + sum_i theta_i * b_i

where * is convolution and ``pad`` surrounds the small kernels with zeros. The gradient with respect to theta_i is
then an inner product over weights instead of activations. The idea is that of structural re-parameterization
(RepVGG, Ding et al. 2021, arXiv 2101.03697), applied before the sum is decided instead of after training.

Merging is planned anew at every call from what the branches are at that moment, so nothing goes stale when a search
method replaces a layer by one of its own. PIT's layers merge with their masked weights; a layer of any other unknown
type, or one with hooks, makes its branch run as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch.nn.functional as F  # noqa: N812  # torch's own abbreviation
from torch import Tensor

from plinio_deploy.search.methods.supernet.kernels import kernel, pad, regroup
from plinio_deploy.search.methods.supernet.linear import Geometry, LinearBranch

TRAFFIC = 64
"""What writing one more output element and reading it back (forward and backward) costs, in multiplications.

Only the choice between merging and running apart depends on it, never a result. Order of magnitude of a CPU core:
some 50 multiplications in the time of one uncached float.
"""


@lru_cache(maxsize=4096)
def plan(geometries: tuple[Geometry | None, ...]) -> tuple[tuple[int, ...], ...]:
    """Which branches to merge: disjoint groups of at least two indices, chosen to multiply least.

    Args:
        geometries: per branch, ``None`` where it is not linear.
    """
    families: dict[tuple[object, ...], list[int]] = {}
    for i, g in enumerate(geometries):
        if g is not None and g.axes >= 0:
            families.setdefault((g.axes, g.inputs, g.outputs, g.stride, g.centre), []).append(i)
    anything = [i for i, g in enumerate(geometries) if g is not None and g.axes < 0]
    groups: list[tuple[int, ...]] = []
    for family in families.values():
        first = geometries[family[0]]
        assert first is not None
        members = list(family)
        if _takes_identity(first):
            fitting = [i for i in anything if first.axes > 0 or not _links(geometries[i])]
            members += fitting
            anything = [i for i in anything if i not in fitting]
        best = _cheapest(members, geometries)
        if best:
            groups.append(best)
    return tuple(groups)


def _links(g: Geometry | None) -> int:
    return 0 if g is None else g.links


def _takes_identity(g: Geometry) -> bool:
    return g.inputs == g.outputs and all(s == 1 for s in g.stride) and all(c == -1 for c in g.centre)


def _cheapest(members: Sequence[int], geometries: Sequence[Geometry | None]) -> tuple[int, ...]:
    """The merge with the fewest multiplications among: all members within a window, for every member's window."""
    linear = {i: g for i in members if (g := geometries[i]) is not None}
    outputs = max(g.outputs for g in linear.values())
    alone = {i: g.macs + TRAFFIC * outputs * (g.links + 1) for i, g in linear.items()}  # + 1: adding it to the mixture
    best: tuple[int, ...] = ()
    least = sum(alone.values())
    for window in linear.values():
        if window.axes < 0:
            continue  # an identity is inside every window and has none of its own
        inside = tuple(i for i, g in linear.items() if all(map(int.__le__, g.extent, window.extent)))
        groups = math.gcd(*(linear[i].groups for i in inside))
        if len(inside) < 2:
            continue
        inputs = max(linear[i].inputs for i in inside)
        merged = outputs * (inputs // groups) * math.prod(window.extent) + 2 * TRAFFIC * outputs
        total = merged + sum(cost for i, cost in alone.items() if i not in inside)
        if total < least:
            best, least = inside, total
    return tuple(sorted(best))


def convolve(x: Tensor, theta: Tensor, branches: Sequence[LinearBranch]) -> Tensor:
    """``sum_i theta[i] * branches[i](x)`` by one convolution.

    Args:
        x: input; with or without a batch axis, as the layers themselves take it.
        theta: weights, shape (n,).
        branches: n linear branches that :func:`plan` put into one group.
    """
    sized = [b.geometry for b in branches if b.geometry.axes >= 0]
    axes, channels = sized[0].axes, sized[0].inputs
    groups = math.gcd(*(g.groups for g in sized))  # an identity has one group per channel: a multiple of any other
    extent = tuple(max(g.extent[a] for g in sized) for a in range(axes))
    reference = next(p for b in branches for layer in b.layers for p in layer.parameters())
    weight: Tensor | None = None
    bias: Tensor | None = None
    for i, branch in enumerate(branches):
        part = kernel(branch, channels, axes, reference)
        spread = pad(regroup(part, groups).weight, extent) * theta[i]
        weight = spread if weight is None else weight + spread
        if part.bias is not None:
            bias = part.bias * theta[i] if bias is None else bias + part.bias * theta[i]
    assert weight is not None
    if axes == 0:
        return F.linear(x, weight, bias)
    padding = tuple((c + e) // 2 for c, e in zip(sized[0].centre, extent, strict=True))
    function = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    return function(x, weight, bias, sized[0].stride, padding, 1, groups)
