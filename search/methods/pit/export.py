# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: SLF001 - rebuilding a module of torch.nn means writing what its constructor would have written
"""Searched layers as plain layers of their final size, with every value that they had."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from plinio_deploy.search.graph.bn import FoldedNorm, unfold
from plinio_deploy.search.graph.channels import Channels
from plinio_deploy.search.graph.ids import IdArray
from plinio_deploy.search.graph.rewrite import Rewriter
from plinio_deploy.search.graph.trace import is_choice
from plinio_deploy.search.methods.pit.convert import MaskBook
from plinio_deploy.search.methods.pit.layers import PITLayer, base_kind
from plinio_deploy.search.methods.pit.norms import plain_norm

PADS = {1: nn.ConstantPad1d, 2: nn.ConstantPad2d, 3: nn.ConstantPad3d}


class Export:
    """Implements `Slicer`: what each module is without its dead channels and taps."""

    def __init__(self, channels: Channels, book: MaskBook, folded: Mapping[str, FoldedNorm]) -> None:
        self.channels = channels
        self.book = book
        self.folded = folded
        self._norms: dict[str, nn.Module] = {}
        self.carriers = {id(carrier.module): carrier for carrier in channels.carriers.values()}

    def run(self, traced: fx.GraphModule) -> fx.GraphModule:
        """The whole network."""
        return Rewriter(self.channels, traced, "", self).run()

    def alive(self, ids: IdArray) -> IdArray:
        """Indices of the living channels among those with these identifiers."""
        return self.book.alive(ids)

    def branch(self, path: str, choice: nn.Module) -> int | None:
        """The branch with the largest alpha."""
        del path
        return int(choice.alpha.detach().argmax()) if is_choice(choice) else None  # type: ignore[operator]

    def module(self, path: str, module: nn.Module) -> nn.Module:
        """The module without its dead channels; always a copy."""
        if isinstance(module, PITLayer):
            plain = plain_layer(module)
            if path in self.folded:
                self._norms[path] = _unfold(plain, self.folded[path], module.outs.alive(), len(module.outs))
            return plain
        if path in self.folded:
            plain = copy.deepcopy(module)
            every = np.arange(int(module.out_channels))  # type: ignore[arg-type]
            self._norms[path] = _unfold(plain, self.folded[path], every, len(every))
            return plain
        for carrier in self.channels.carriers.values():
            if carrier.module is module and carrier.ids is not None:
                return sliced_carrier(module, self.book.alive(carrier.ids), len(carrier.ids), carrier.axis)
        return copy.deepcopy(module)

    def after(self, path: str) -> tuple[str, nn.Module] | None:
        """The batch norm that was folded into the layer."""
        return (self.folded[path].target, self._norms[path]) if path in self.folded else None

    def before(self, path: str, module: nn.Module) -> nn.Module | None:
        """Padding or cropping that a convolution with fewer taps needs and cannot do itself."""
        del path
        if not isinstance(module, PITLayer):
            return None
        pads = outer_padding(module)
        if pads is None:
            return None
        dims = module.weight.dim() - 2
        kind: Any = PADS[dims]
        pad: nn.Module = kind(tuple(pads), 0.0)
        return pad.train(module.training)


def _select(tensor: Tensor, axis: int, index: IdArray) -> Tensor:
    return tensor.index_select(axis, torch.from_numpy(index).to(tensor.device))


def plain_layer(layer: PITLayer) -> nn.Module:
    """The ``torch.nn`` layer of the final size.

    Raises nothing: what cannot be sliced was never masked.
    """
    outs = layer.outs.alive()
    weight = layer.weight.detach()
    ins = None if layer.ins is None else layer.ins.alive()
    if layer.transposed:
        per_out = weight.shape[1]
        weight = weight if ins is None else _select(weight, 0, ins)
        if layer.kind != "depthwise":
            weight = _select(weight, 1, outs[outs < per_out])
    else:
        weight = _select(weight, 0, outs)
        if ins is not None and layer.kind != "depthwise":
            weight = _select(weight, 1, ins[ins < weight.shape[1]])
    kind = base_kind(layer)
    plain = copy.copy(layer)
    plain.__class__ = kind  # type: ignore[assignment]
    plain.__dict__ = {
        key: copy.copy(value) if isinstance(value, dict | set) else value
        for key, value in layer.__dict__.items()
        if key not in {"kind", "_modules"}
    }
    plain._modules = {}
    plain._parameters = dict(layer._parameters)
    result: Any = plain
    if kind is nn.Linear:
        result.in_features = result.in_features if ins is None else len(ins)
        result.out_features = len(outs)
    else:
        weight = _shape_conv(layer, result, weight, ins, outs)
    plain._parameters["weight"] = nn.Parameter(weight.clone(), layer.weight.requires_grad)
    bias = layer._parameters["bias"]
    if bias is not None:
        plain._parameters["bias"] = nn.Parameter(_select(bias.detach(), 0, outs).clone(), bias.requires_grad)
    return plain


def _shape_conv(layer: Any, result: Any, weight: Tensor, ins: IdArray | None, outs: IdArray) -> Tensor:
    result.in_channels = layer.in_channels if ins is None else len(ins)
    result.out_channels = len(outs)
    if layer.kind == "depthwise":
        result.groups = layer.groups if ins is None else len(ins)
    taps = layer.alive_taps()
    if all(len(alive) == size for alive, size in zip(taps, layer.kernel_size, strict=True)):
        return weight
    for axis, alive in enumerate(taps):
        weight = _select(weight, axis + 2, alive)
    result.kernel_size = tuple(len(alive) for alive in taps)
    result.dilation = tuple(step * own for step, own in zip(steps(layer), layer.dilation, strict=True))
    pads = _pads(layer)
    symmetric = all(left == right and left >= 0 for left, right in pads)
    result.padding = tuple(left for left, _ in pads) if symmetric else (0,) * len(pads)
    result._reversed_padding_repeated_twice = [side for pad in reversed(result.padding) for side in (pad, pad)]
    return weight


def _unfold(layer: nn.Module, folded: FoldedNorm, alive: IdArray, count: int) -> nn.Module:
    """Take a folded norm out of a sliced layer again; returns the norm."""
    device = next(layer.parameters()).device
    norm = sliced_carrier(folded.norm, alive, count, 0).to(device)
    bias = None if folded.bias is None else _select(folded.bias.to(device), 0, alive)
    unfold(layer, replace(folded, bias=bias), norm)
    return norm


def steps(layer: PITLayer) -> tuple[int, ...]:
    """Per kernel axis, the distance between living taps in taps of the original kernel."""
    if layer.dilation_masker is not None:
        alive = np.flatnonzero(layer.dilation_masker.binary().detach().cpu().numpy() > 0)
        return (int(alive[-1] - alive[-2]) if len(alive) > 1 else 1,)
    return (1,) * (layer.weight.dim() - 2)


def _pads(layer: Any) -> list[tuple[int, int]]:
    """Per axis, the zeros before and after that the sliced kernel needs for the same outputs; negative: crop."""
    found = []
    for axis, alive in enumerate(layer.alive_taps()):
        size, dilation = layer.kernel_size[axis], layer.dilation[axis]
        if layer.padding == "same":
            total = dilation * (size - 1)
            left, right = total // 2, total - total // 2
        else:
            left = right = 0 if layer.padding == "valid" else layer.padding[axis]
        found.append((left - int(alive[0]) * dilation, right - (size - 1 - int(alive[-1])) * dilation))
    return found


def outer_padding(layer: Any) -> list[int] | None:
    """What a separate padding in front must do, in the order of ``F.pad``; ``None`` if the layer pads well itself."""
    if isinstance(layer, nn.Linear) or layer.transposed:
        return None
    if all(len(alive) == size for alive, size in zip(layer.alive_taps(), layer.kernel_size, strict=True)):
        return None
    pads = _pads(layer)
    if all(left == right and left >= 0 for left, right in pads):
        return None
    return [side for pair in reversed(pads) for side in pair]


def sliced_carrier(module: nn.Module, alive: IdArray, count: int, axis: int) -> nn.Module:
    """A norm or PReLU without its dead channels."""
    sliced = plain_norm(copy.deepcopy(module))
    result: Any = sliced
    for name in ("weight", "bias"):
        value = result._parameters.get(name)
        if value is not None:
            result._parameters[name] = nn.Parameter(_select(value.detach(), axis, alive), value.requires_grad)
    for name in ("running_mean", "running_var"):
        value = result._buffers.get(name)
        if value is not None:
            result._buffers[name] = _select(value, 0, alive)
    if isinstance(module, nn.GroupNorm):
        result.num_groups = len(alive) if module.num_groups == count else module.num_groups
    if isinstance(module, nn.LayerNorm):
        shape = list(module.normalized_shape)
        shape[axis] = len(alive)
        result.normalized_shape = tuple(shape)
    for name in ("num_features", "num_parameters", "num_channels"):
        if hasattr(result, name):
            setattr(result, name, len(alive))
    return sliced
