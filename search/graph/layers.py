# SPDX-License-Identifier: Apache-2.0
"""What modules do to channels: layers make, end and tie identifiers; everything else hands them on."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import fx, nn

from plinio_deploy.search.graph.channels import CarrierInfo, Channels, LayerInfo, LayerKind, is_marked, key_of
from plinio_deploy.search.graph.ids import FROZEN, Features, IdArray
from plinio_deploy.search.graph.ops import elementwise, movement, over_axes, padded, spatial
from plinio_deploy.search.graph.trace import is_torch_layer, matches

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LAYERS = (*CONVS, nn.Linear)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
PER_CHANNEL = (*BATCH_NORMS, *INSTANCE_NORMS, nn.PReLU)
ELEMENTWISE = (
    nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softsign, nn.Softshrink,
    nn.Hardshrink, nn.Tanhshrink, nn.LogSigmoid, nn.Threshold, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d,
    nn.AlphaDropout, nn.FeatureAlphaDropout,
)  # fmt: skip
MOVEMENT = (nn.Flatten, nn.Unflatten, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle)
POOLS = {
    1: (nn.MaxPool1d, nn.AvgPool1d, nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d, nn.LPPool1d),
    2: (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.LPPool2d, nn.FractionalMaxPool2d),
    3: (nn.MaxPool3d, nn.AvgPool3d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool3d, nn.LPPool3d, nn.FractionalMaxPool3d),
}
PADS = (
    nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d, nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d,
    nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d, nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d,
)  # fmt: skip
SOFTMAX = (nn.Softmax, nn.LogSoftmax, nn.Softmin, nn.Softmax2d)


def module_features(channels: Channels, node: fx.Node, module: nn.Module, path: str) -> Any:
    """Features of what a module returns, after noting all ties that the module makes."""
    if is_marked(path, module, channels.rules):
        channels.freeze_inputs(node, "a leaf that you marked")
        return None
    if not is_torch_layer(module):
        channels.refuse(node, f"module of type {type(module).__name__} is not known")
        return None
    if isinstance(module, LAYERS) and "weight" not in module._parameters:  # noqa: SLF001 - what is stored, not computed
        hint = "Make the weight a plain parameter first: torch.nn.utils.parametrize.remove_parametrizations."
        channels.refuse(node, "a layer whose weight is computed (parametrization, weight norm)", hints=(hint,))
        return None
    if isinstance(module, CONVS):
        return _conv(channels, node, module, path)
    if isinstance(module, nn.Linear):
        return _linear(channels, node, module, path)
    return _plain_module(channels, node, module, path)


def _plain_module(channels: Channels, node: fx.Node, module: nn.Module, path: str) -> Any:
    if isinstance(module, PER_CHANNEL):
        return _per_channel(channels, node, module, path)
    if isinstance(module, nn.LayerNorm | nn.GroupNorm):
        return _norm(channels, node, module, path)
    if isinstance(module, ELEMENTWISE):
        return elementwise(channels, node)
    if isinstance(module, MOVEMENT):
        return movement(channels, node, module)
    for dims, kinds in POOLS.items():
        if isinstance(module, kinds):
            return spatial(channels, node, dims)
    if isinstance(module, nn.Upsample):
        return spatial(channels, node, len(channels.shapes[node]) - 2)
    if isinstance(module, PADS):
        pads = module.padding
        assert isinstance(pads, tuple)
        return padded(
            channels, node, pads, constant="Constant" in type(module).__name__ or "Zero" in type(module).__name__
        )
    if isinstance(module, SOFTMAX):
        dim = 1 if isinstance(module, nn.Softmax2d) else module.dim
        return over_axes(channels, node, dim, quiet=True)
    if any(channels.governed(source) for source in node.all_input_nodes):
        channels.refuse(node, f"it is not known what a {type(module).__name__} does to channels")
    return None


def _only(channels: Channels, node: fx.Node) -> Features | None:
    features = channels.features[channels.tensors(node)[0]]
    assert features is None or isinstance(features, Features)
    return features


def fresh(channels: Channels, path: str, module: nn.Module, count: int) -> IdArray:
    """Identifiers of new output channels, in blocks of the granularity; the odd block, if any, comes first."""
    rules = channels.rules
    if matches(path, module, rules.exclude) or not isinstance(module, rules.searchable):
        return np.full(count, FROZEN, dtype=np.int64)
    blocks_of = rules.granularity
    block = blocks_of if isinstance(blocks_of, int) else blocks_of.get(path, 1)
    blocks = -(-count // block)
    ids = channels.ids.fresh(blocks)
    return np.repeat(ids, block)[blocks * block - count :]


def _conv_ties(channels: Channels, module: Conv, path: str, ins: IdArray | None) -> tuple[LayerKind, IdArray]:
    """How a convolution ties its input channels, and the identifiers of its output channels."""
    groups, per_in, per_out = module.groups, module.in_channels // module.groups, module.out_channels // module.groups
    if groups == 1:
        return "dense", fresh(channels, path, module, module.out_channels)
    if per_in == 1:
        if per_out == 1 and ins is None:
            return "depthwise", np.full(module.out_channels, FROZEN, dtype=np.int64)
        if ins is not None:
            if matches(path, module, channels.rules.exclude):
                channels.ids.freeze(ins)
            return "depthwise", np.repeat(ins, per_out)
    if ins is not None:
        table = ins.reshape(groups, per_in)
        channels.ids.unify(table, table[:1])
    return "grouped", np.tile(fresh(channels, path, module, per_out), groups)


def _conv(channels: Channels, node: fx.Node, module: Conv, path: str) -> Features | None:
    shape = channels.shapes[channels.tensors(node)[0]]
    features = _only(channels, node)
    if len(shape) != module.weight.dim():
        channels.refuse(node, f"a convolution on an input of {len(shape)} dimensions", hints=("Keep the batch axis.",))
        return None
    if features is not None and features.axis != 1:
        channels.freeze(features)
        features = None
    ins = None if features is None else features.ids
    layer = channels.shared(channels.layers, module)
    if layer is None:
        kind, outs = _conv_ties(channels, module, path, ins)
        layer = LayerInfo(path, module, kind, ins, outs)
        channels.layers[key_of(module)] = layer
    else:
        _again(channels, layer, ins)
    layer.modules[path] = module
    layer.nodes.append(node)
    return Features(1, layer.outs)


def _again(channels: Channels, layer: LayerInfo, ins: IdArray | None) -> None:
    """A second call: its inputs must live and die with those of the first."""
    if ins is None and layer.ins is not None:
        channels.ids.freeze(layer.ins)
    elif ins is not None and layer.ins is None:
        channels.ids.freeze(ins)
    elif ins is not None and layer.ins is not None:
        channels.ids.unify(ins, layer.ins)


def _linear(channels: Channels, node: fx.Node, module: nn.Linear, path: str) -> Features | None:
    last = len(channels.shapes[node]) - 1
    features = _only(channels, node)
    passing = features is not None and features.axis != last
    ins = None if features is None or passing else features.ids
    layer = channels.shared(channels.layers, module)
    if layer is None:
        count = module.out_features
        outs = np.full(count, FROZEN, dtype=np.int64) if passing else fresh(channels, path, module, count)
        layer = LayerInfo(path, module, "dense", ins, outs)
        channels.layers[key_of(module)] = layer
    else:
        _again(channels, layer, ins)
        if passing:
            channels.ids.freeze(layer.outs)
    layer.modules[path] = module
    layer.nodes.append(node)
    return features if passing else Features(last, layer.outs)


def _per_channel(channels: Channels, node: fx.Node, module: nn.Module, path: str) -> Features | None:
    features = _only(channels, node)
    axis = 1
    if isinstance(module, INSTANCE_NORMS) and len(channels.shapes[node]) == len(_spatial_axes(module)) + 1:
        axis = 0  # an unbatched input; nothing is governed along the batch axis
    ids = features.ids if features is not None and features.axis == axis else None
    if isinstance(module, nn.PReLU) and module.num_parameters == 1:
        return features
    carry(channels, module, path, ids)
    return features


def carry(channels: Channels, module: nn.Module, path: str, ids: IdArray | None, axis: int = 0) -> None:
    """Note a module with numbers per channel; calls of the same module are tied.

    ``axis``: along which axis of its weight the channels lie.
    """
    known = channels.shared(channels.carriers, module)
    if known is None:
        channels.carriers[key_of(module)] = CarrierInfo(path, module, ids, axis)
    elif ids is None or known.ids is None:
        for items in (ids, known.ids):
            if items is not None:
                channels.ids.freeze(items)
    else:
        channels.ids.unify(ids, known.ids)


def _spatial_axes(module: nn.Module) -> range:
    return range(int(type(module).__name__[-2])) if type(module).__name__[-2].isdigit() else range(2)


def _norm(channels: Channels, node: fx.Node, module: nn.LayerNorm | nn.GroupNorm, path: str) -> Features | None:
    """Norms over channels take their statistics over the living channels; groups keep equal sizes."""
    features = _only(channels, node)
    if features is None:
        return None
    if isinstance(module, nn.GroupNorm):
        if features.axis != 1:
            channels.freeze(features)
            return None
        if 1 < module.num_groups < module.num_channels:
            table = features.ids.reshape(module.num_groups, -1)
            channels.ids.unify(table, table[:1])
        carry(channels, module, path, features.ids)
        return features
    first = len(channels.shapes[node]) - len(module.normalized_shape)
    if features.axis < first:
        return features
    carry(channels, module, path, features.ids, features.axis - first)
    return features


__all__ = ["BATCH_NORMS", "CONVS", "INSTANCE_NORMS", "LAYERS", "PER_CHANNEL", "TRANSPOSED", "module_features"]
