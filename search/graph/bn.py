# SPDX-License-Identifier: Apache-2.0
"""Batch norms folded into the convolutions before them, and taken out again so that the function stays the same."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from plinio_deploy.search.graph.layers import BATCH_NORMS, CONVS, TRANSPOSED
from plinio_deploy.search.graph.trace import is_choice

SMALLEST_SCALE = 1e-12
"""A norm whose scale is nearer to zero than this has erased its channel; what was before it cannot be recovered."""


@dataclass(frozen=True)
class FoldedNorm:
    """A batch norm that is now part of the layer before it.

    Attributes:
        target: where it was, relative to its graph.
        norm: the module, as it was.
        bias: the layer's own bias before folding.
    """

    target: str
    norm: nn.Module
    bias: Tensor | None


def scale_and_shift(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """What a batch norm computes in eval mode: ``x * scale + shift``, per channel."""
    assert isinstance(norm, BATCH_NORMS)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = torch.rsqrt(norm.running_var + norm.eps)
    if norm.affine:
        scale = scale * norm.weight.detach()
    shift = -norm.running_mean * scale
    return scale, shift + norm.bias.detach() if norm.affine else shift


def _per_output(layer: nn.Module, values: Tensor) -> Tensor:
    """Values per output channel, shaped to multiply a layer's weight."""
    axis = 1 if isinstance(layer, TRANSPOSED) else 0
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return values.view([-1 if index == axis else 1 for index in range(weight.dim())])


def _foldable(traced: fx.GraphModule, node: fx.Node, calls: dict[str, int]) -> bool:
    """Is this a batch norm right after a convolution, both called once, the convolution read by nothing else?"""
    source = node.args[0] if node.args else None
    if node.op != "call_module" or not isinstance(source, fx.Node) or source.op != "call_module":
        return False
    norm, layer = traced.get_submodule(str(node.target)), traced.get_submodule(str(source.target))
    if not isinstance(norm, BATCH_NORMS) or not isinstance(layer, CONVS) or norm.running_mean is None:
        return False
    if isinstance(layer, TRANSPOSED) and layer.groups > 1:
        return False
    return len(source.users) == 1 and calls[str(node.target)] == 1 and calls[str(source.target)] == 1


def fold_batch_norms(traced: fx.GraphModule, prefix: str = "") -> dict[str, FoldedNorm]:
    """Fold in place wherever it is exact, also in branches; returns the norms by path of their layer."""
    found: dict[str, FoldedNorm] = {}
    calls: dict[str, int] = {}
    for node in traced.graph.nodes:
        if node.op == "call_module":
            calls[str(node.target)] = calls.get(str(node.target), 0) + 1
    for node in list(traced.graph.nodes):
        if node.op == "call_module" and is_choice(module := traced.get_submodule(str(node.target))):
            branches = module.branches
            assert isinstance(branches, nn.ModuleList)
            for index, branch in enumerate(branches):
                assert isinstance(branch, fx.GraphModule)
                found |= fold_batch_norms(branch, f"{prefix}{node.target}.branches.{index}.")
        elif _foldable(traced, node, calls):
            source = node.args[0]
            assert isinstance(source, fx.Node)
            layer, norm = traced.get_submodule(str(source.target)), traced.get_submodule(str(node.target))
            found[f"{prefix}{source.target}"] = FoldedNorm(str(node.target), norm, fold(layer, norm))
            node.replace_all_uses_with(source)
            traced.graph.erase_node(node)
            traced.delete_submodule(str(node.target))
    traced.recompile()
    return found


def fold(layer: nn.Module, norm: nn.Module) -> Tensor | None:
    """Fold a norm into a convolution, in place; returns the convolution's bias from before."""
    scale, shift = scale_and_shift(norm)
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, nn.Parameter)
    before = bias.detach().clone() if isinstance(bias, Tensor) else None
    with torch.no_grad():
        weight.mul_(_per_output(layer, scale))
        layer.bias = nn.Parameter(shift if before is None else before * scale + shift)
    return before


def unfold(layer: nn.Module, folded: FoldedNorm, norm: nn.Module) -> None:
    """The inverse on a layer that was trained and sliced meanwhile: layer, then norm, compute what the layer alone did.

    Args:
        layer: the convolution; changed in place, gets back its own bias (or none).
        folded: what was folded; ``bias`` sliced like the layer.
        norm: the norm, sliced like the layer's outputs; its scale and shift are changed in place.
    """
    scale, _ = scale_and_shift(norm)
    scale = torch.where(scale.abs() < SMALLEST_SCALE, torch.ones_like(scale), scale)
    weight, bias = layer.weight, layer.bias
    assert isinstance(norm, BATCH_NORMS)
    assert isinstance(weight, nn.Parameter)
    assert isinstance(bias, Tensor)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.no_grad():
        weight.div_(_per_output(layer, scale))
        own = torch.zeros_like(bias) if folded.bias is None else folded.bias
        shift = bias - (own - norm.running_mean) * scale
        norm.weight = nn.Parameter(scale * torch.sqrt(norm.running_var + norm.eps))
        norm.bias = nn.Parameter(shift.clone())
        norm.affine = True
    layer.register_parameter("bias", None if folded.bias is None else nn.Parameter(folded.bias.clone()))
