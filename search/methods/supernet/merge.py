# SPDX-License-Identifier: Apache-2.0
"""Branches that are linear maps are mixed in weight space: one convolution runs instead of one per branch.

A branch is linear if it is a chain of convolutions, identities and frozen batch norms that composes into one
convolution exactly, borders included: at most one link looks at neighbours, the others are pointwise. Linear branches
whose kernels sit on the same centre with the same stride differ only in which taps they have, so

    sum_i theta_i * (W_i * x + b_i) = (sum_i theta_i * pad(W_i)) * x + sum_i theta_i * b_i

where * is convolution and ``pad`` surrounds the small kernels with zeros. The gradient with respect to theta_i is
then an inner product over weights instead of activations. The idea is that of structural re-parameterization
(RepVGG, Ding et al. 2021, arXiv 2101.03697), applied before the sum is decided instead of after training.

Merging is planned anew at every call from what the branches are at that moment, so nothing goes stale when a search
method replaces a layer by one of its own: a layer of an unknown type, or one with hooks, makes its branch run as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F  # noqa: N812  # torch's own abbreviation
from torch import Tensor, fx, nn

CONVOLUTIONS: dict[type[nn.Module], int] = {nn.Linear: 0, nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}
"""Layers that are linear maps -> number of spatial axes."""

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

TRAFFIC = 64
"""What writing one more output element and reading it back (forward and backward) costs, in multiplications.

Only the choice between merging and running apart depends on it, never a result. Order of magnitude of a CPU core:
some 50 multiplications in the time of one uncached float.
"""


@dataclass(frozen=True)
class Geometry:
    """Where a linear branch looks: all that decides with which others it can be merged.

    Attributes:
        axes: number of spatial axes, 0 for ``nn.Linear``.
        inputs: input channels; 0 if the branch takes any (identity).
        outputs: output channels; 0 likewise.
        groups: groups of the composed convolution; 0 means one per channel of an identity.
        extent: width of the window per axis, dilation included.
        stride: per axis.
        centre: twice the padding minus the extent, per axis: equal values are windows on one centre.
        macs: multiplications per output position when the branch runs by itself.
        links: number of layers that run.
    """

    axes: int
    inputs: int
    outputs: int
    groups: int
    extent: tuple[int, ...]
    stride: tuple[int, ...]
    centre: tuple[int, ...]
    macs: int
    links: int

    @property
    def pointwise(self) -> bool:
        """One tap, no stride, no padding."""
        return all(e == 1 and s == 1 and c == -1 for e, s, c in zip(self.extent, self.stride, self.centre, strict=True))


@dataclass(frozen=True)
class LinearBranch:
    """A branch that is one convolution: its geometry and the layers that compose it, in order."""

    geometry: Geometry
    layers: tuple[nn.Module, ...]


@dataclass(frozen=True)
class Kernel:
    """A convolution's numbers: weight (outputs, inputs / groups, *taps) and bias (outputs,) or ``None``."""

    weight: Tensor
    bias: Tensor | None
    groups: int


# --- what a branch is -----------------------------------------------------------------------------------------------


def chain(branch: nn.Module) -> list[nn.Module] | None:
    """The layers of a branch if it passes one tensor through them one after the other, else ``None``."""
    if _has_hooks(branch):
        return None
    if type(branch) is nn.Identity:
        return []
    if type(branch) is nn.Sequential:
        modules: list[nn.Module] = list(branch)
    elif isinstance(branch, fx.GraphModule):
        found = _graph_chain(branch)
        if found is None:
            return None
        modules = found
    else:
        return [branch]
    layers: list[nn.Module] = []
    for module in modules:
        inner = chain(module)
        if inner is None:
            return None
        layers += inner
    return layers


def _graph_chain(branch: fx.GraphModule) -> list[nn.Module] | None:
    modules: list[nn.Module] = []
    previous: fx.Node | None = None
    for node in branch.graph.nodes:
        if node.op == "placeholder" and previous is None:
            previous = node
        elif node.op == "output" and node.args == (previous,):
            return modules
        elif node.op == "call_module" and node.args == (previous,) and not node.kwargs:
            modules.append(branch.get_submodule(str(node.target)))
            previous = node
        else:
            return None
    return None


def _has_hooks(module: nn.Module) -> bool:
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, name, None) for name in hooks)


def describe(branch: nn.Module) -> LinearBranch | None:
    """The branch as one convolution, or ``None`` if it is not exactly one."""
    layers = chain(branch)
    if layers is None:
        return None
    whole: Geometry | None = None
    shifted = False  # a constant was added: padding applied after it would not see it
    for layer in layers:
        if _frozen_norm(layer):
            shifted = True
            continue
        link = _geometry(layer)
        if link is None:
            return None
        padded = any(c != -e for c, e in zip(link.centre, link.extent, strict=True))
        if whole is None:
            if shifted and padded:
                return None
            whole = link
        elif link.pointwise and link.axes == whole.axes and not padded:
            whole = _join(whole, link, taps=whole)
        elif whole.pointwise and link.axes == whole.axes and not (shifted and padded):
            whole = _join(whole, link, taps=link)
        else:
            return None
        shifted = shifted or getattr(layer, "bias", None) is not None
    if whole is None:
        whole = Geometry(-1, 0, 0, 0, (), (), (), 0, len(layers))
    elif whole.axes == 0 and any(type(layer) in NORMS for layer in layers):
        return None  # a batch norm takes axis 1, a Linear the last: which is which depends on the input
    return LinearBranch(whole, tuple(layers))


def _frozen_norm(layer: nn.Module) -> bool:
    return type(layer) in NORMS and not layer.training and getattr(layer, "running_mean", None) is not None


def _geometry(layer: nn.Module) -> Geometry | None:
    axes = CONVOLUTIONS.get(type(layer))
    if axes is None or _has_hooks(layer):
        return None
    if isinstance(layer, nn.Linear):
        macs = layer.in_features * layer.out_features
        return Geometry(0, layer.in_features, layer.out_features, 1, (), (), (), macs, 1)
    assert isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d)
    extent = tuple(d * (k - 1) + 1 for d, k in zip(layer.dilation, layer.kernel_size, strict=True))
    if layer.padding == "same":
        if any(e % 2 == 0 for e in extent):
            return None
        padding = tuple(e // 2 for e in extent)
    elif layer.padding == "valid":
        padding = (0,) * axes
    else:
        padding = tuple(int(p) for p in layer.padding)
    if layer.padding_mode != "zeros" and any(padding):
        return None
    centre = tuple(2 * p - e for p, e in zip(padding, extent, strict=True))
    macs = layer.out_channels * (layer.in_channels // layer.groups) * math.prod(layer.kernel_size)
    return Geometry(
        axes, layer.in_channels, layer.out_channels, layer.groups, extent, tuple(layer.stride), centre, macs, 1
    )


def _join(first: Geometry, second: Geometry, taps: Geometry) -> Geometry:
    return Geometry(
        first.axes,
        first.inputs,
        second.outputs,
        math.gcd(first.groups, second.groups),
        taps.extent,
        taps.stride,
        taps.centre,
        first.macs + second.macs,
        first.links + second.links,
    )


# --- which branches are worth merging ---------------------------------------------------------------------------------


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


# --- the numbers ------------------------------------------------------------------------------------------------------


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
        spread = _pad(_regroup(part, groups).weight, extent) * theta[i]
        weight = spread if weight is None else weight + spread
        if part.bias is not None:
            bias = part.bias * theta[i] if bias is None else bias + part.bias * theta[i]
    assert weight is not None
    if axes == 0:
        return F.linear(x, weight, bias)
    padding = tuple((c + e) // 2 for c, e in zip(sized[0].centre, extent, strict=True))
    function = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    return function(x, weight, bias, sized[0].stride, padding, 1, groups)


def kernel(branch: LinearBranch, channels: int, axes: int, reference: Tensor) -> Kernel:
    """The one convolution, dilation expanded, that a linear branch is; differentiable in its layers' parameters.

    Args:
        branch: what :func:`describe` found.
        channels: input channels, for a branch that takes any.
        axes: spatial axes, likewise.
        reference: a tensor whose dtype and device an identity's kernel takes.
    """
    whole: Kernel | None = None
    for layer in branch.layers:
        if _frozen_norm(layer):
            whole = _normalize(whole or _identity(channels, axes, reference), layer)
        else:
            assert isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)
            link = Kernel(_dilate(layer), layer.bias, getattr(layer, "groups", 1))
            whole = link if whole is None else _compose(whole, link)
    return whole or _identity(channels, axes, reference)


def _identity(channels: int, axes: int, reference: Tensor) -> Kernel:
    if axes == 0:
        return Kernel(torch.eye(channels, dtype=reference.dtype, device=reference.device), None, 1)
    return Kernel(reference.new_ones(channels, 1, *(1,) * axes), None, channels)


def _dilate(layer: nn.Module) -> Tensor:
    """The weight with the zeros of its dilation written out."""
    weight: Tensor = layer.weight  # type: ignore[assignment]
    for axis, step in enumerate(getattr(layer, "dilation", ()), start=2):
        if step > 1 and weight.shape[axis] > 1:
            spaced = weight.unsqueeze(axis + 1)
            spaced = F.pad(spaced, (0, 0) * (spaced.dim() - axis - 2) + (0, step - 1))
            weight = spaced.flatten(axis, axis + 1).narrow(axis, 0, step * (weight.shape[axis] - 1) + 1)
    return weight


def _normalize(before: Kernel, norm: nn.Module) -> Kernel:
    assert isinstance(norm, NORMS)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = torch.rsqrt(norm.running_var + norm.eps)
    if norm.affine:
        scale = scale * norm.weight
    shift = -norm.running_mean * scale
    if norm.affine:
        shift = shift + norm.bias
    bias = shift if before.bias is None else before.bias * scale + shift
    return Kernel(before.weight * scale.view(-1, *(1,) * (before.weight.dim() - 1)), bias, before.groups)


def _compose(first: Kernel, second: Kernel) -> Kernel:
    """``second`` after ``first``; one of them has a single tap."""
    groups = math.gcd(first.groups, second.groups)
    a = _regroup(first, groups).weight
    b = _regroup(second, groups).weight
    taps = a.shape[2:] if math.prod(b.shape[2:]) == 1 else b.shape[2:]
    left = a.reshape(groups, a.shape[0] // groups, a.shape[1], -1)
    right = b.reshape(groups, b.shape[0] // groups, b.shape[1], -1)
    equation = "gomk,gmit->goit" if right.shape[3] == 1 else "gomt,gmik->goit"
    weight = torch.einsum(equation, right, left).reshape(b.shape[0], a.shape[1], *taps)
    bias = second.bias
    if first.bias is not None:
        carried = torch.einsum("gomt,gm->go", right, first.bias.view(groups, -1)).reshape(-1)
        bias = carried if bias is None else bias + carried
    return Kernel(weight, bias, groups)


def _regroup(part: Kernel, groups: int) -> Kernel:
    """The same map with fewer groups (a divisor of what it has), its missing connections as zeros."""
    if part.groups == groups:
        return part
    outputs, inner = part.weight.shape[:2]
    width = inner * part.groups // groups
    output = torch.arange(outputs, device=part.weight.device)
    start = output // (outputs // part.groups) * inner - output // (outputs // groups) * width
    index = (start.view(-1, 1) + torch.arange(inner, device=start.device)).view(
        outputs, inner, *(1,) * (part.weight.dim() - 2)
    )
    empty = part.weight.new_zeros(outputs, width, *part.weight.shape[2:])
    return Kernel(empty.scatter(1, index.expand_as(part.weight), part.weight), part.bias, groups)


def _pad(weight: Tensor, extent: tuple[int, ...]) -> Tensor:
    margins = [(e - k) // 2 for e, k in zip(extent, weight.shape[2:], strict=True)]
    if not any(margins):
        return weight
    return F.pad(weight, tuple(m for margin in reversed(margins) for m in (margin, margin)))
