# SPDX-License-Identifier: Apache-2.0
"""The numbers of a linear branch: the weight and bias of the one convolution that it is, from its layers'."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  # torch's own abbreviation
from torch import Tensor, nn

from plinio_deploy.search.methods.pit.layers import PITLayer
from plinio_deploy.search.methods.supernet.linear import NORMS, LinearBranch, frozen_norm


@dataclass(frozen=True)
class Kernel:
    """A convolution's numbers: weight (outputs, inputs / groups, *taps) and bias (outputs,) or ``None``."""

    weight: Tensor
    bias: Tensor | None
    groups: int


def kernel(branch: LinearBranch, channels: int, axes: int, reference: Tensor) -> Kernel:
    """The one convolution, dilation expanded, that a linear branch is; differentiable in its layers' parameters.

    Args:
        branch: what :func:`~plinio_deploy.search.methods.supernet.linear.describe` found.
        channels: input channels, for a branch that takes any.
        axes: spatial axes, likewise.
        reference: a tensor whose dtype and device an identity's kernel takes.
    """
    whole: Kernel | None = None
    for layer in branch.layers:
        if frozen_norm(layer):
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
    weight: Tensor = layer.effective_weight() if isinstance(layer, PITLayer) else layer.weight  # type: ignore[assignment]
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
    a = regroup(first, groups).weight
    b = regroup(second, groups).weight
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


def regroup(part: Kernel, groups: int) -> Kernel:
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


def pad(weight: Tensor, extent: tuple[int, ...]) -> Tensor:
    """The same kernel in a larger window, with zeros around it."""
    margins = [(e - k) // 2 for e, k in zip(extent, weight.shape[2:], strict=True)]
    if not any(margins):
        return weight
    return F.pad(weight, tuple(m for margin in reversed(margins) for m in (margin, margin)))
