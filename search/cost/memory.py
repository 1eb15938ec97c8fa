# SPDX-License-Identifier: Apache-2.0
"""Peak RAM: the most that lies in memory at one step, differentiable.

The value is the true peak of the network as it stands. Its gradient is spread over the steps near the peak (a softmax
over their sizes), so that the search does not shrink one step only to meet the next, a byte smaller.

Inside a supernet the peak is the mean over the branches, weighted by their thetas, of the peak of each; with hard
thetas it is the peak of the chosen network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from plinio_deploy.search.cost.evaluate import Choice, NetworkUse, Number, StepUse, TensorUse, as_tensor
from plinio_deploy.search.cost.rounding import round_up
from plinio_deploy.search.cost.spec import NetworkCost

ALIGNMENT = 4
"""Generated code starts every buffer of the arena at a multiple of this (codegen/memory.py)."""

SPREAD = 0.05
"""Steps within about this fraction of the peak share its gradient."""

Size = Callable[[TensorUse], Number]


def tensor_bytes(tensor: TensorUse) -> Number:
    """Bytes of a tensor, without padding."""
    return tensor.elements * (tensor.bits / 8)


def arena_tensor_bytes(tensor: TensorUse) -> Number:
    """Bytes of a tensor in the arena, rounded up to the alignment; 0 for what lies with the caller."""
    return 0.0 if tensor.outside else round_up(tensor_bytes(tensor), ALIGNMENT)


def step_bytes(step: StepUse, size: Size = tensor_bytes) -> Tensor:
    """Bytes that lie in memory during one step."""
    return as_tensor(sum((size(tensor) for tensor in step.live), 0.0))


def peak(use: NetworkUse, size: Size = tensor_bytes, spread: float = SPREAD) -> Tensor:
    """The largest step, exact in value, with a gradient spread over the steps near it.

    Args:
        use: needs `NetworkUse.steps`.
        size: bytes of one tensor.
        spread: fraction of the peak within which steps share the gradient; 0 gives all of it to the largest step.
    """
    return _peak([(step.path, step) for step in use.steps], size, spread)


def _peak(steps: Sequence[tuple[tuple[Choice, ...], StepUse]], size: Size, spread: float) -> Tensor:
    """Peak of steps with what is left of their paths: of each supernet, the mean over its branches."""
    here = [step_bytes(step, size) for path, step in steps if not path]
    for module in dict.fromkeys(path[0].module for path, _ in steps if path):
        branches: dict[int, list[tuple[tuple[Choice, ...], StepUse]]] = {}
        thetas: dict[int, Number] = {}
        for path, step in steps:
            if path and path[0].module == module:
                branches.setdefault(path[0].branch, []).append((path[1:], step))
                thetas[path[0].branch] = path[0].theta
        mean = torch.zeros(())
        for branch, inner in branches.items():
            mean = mean + _peak(inner, size, spread) * thetas[branch]
        here.append(mean)
    return _spread_max(here, spread)


def _spread_max(values: Sequence[Tensor], spread: float) -> Tensor:
    if not values:
        return torch.zeros(())
    device = next((value.device for value in values if value.requires_grad), values[0].device)
    stacked = torch.stack([value.reshape(()).to(device) for value in values])
    hard = stacked.detach().max()
    if not stacked.requires_grad or spread <= 0:
        return stacked.max()
    shares = torch.softmax(stacked.detach() / (spread * hard).clamp(min=1e-9), 0)
    soft = (shares * stacked).sum()
    return hard + (soft - soft.detach())  # the bracket is an exact zero


peak_ram = NetworkCost("peak_ram", peak, unit="byte")
"""Bytes of all tensors that live at once, inputs and outputs of the network included, at the fullest step."""

arena = NetworkCost("arena", partial(peak, size=arena_tensor_bytes), unit="byte")
"""Bytes the generated code's arena needs at least: as `peak_ram`, without the caller's input and output, buffers
aligned."""
