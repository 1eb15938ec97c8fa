# SPDX-License-Identifier: Apache-2.0
"""The trained parts of a fake-quantized network: layers with weights, and quantizers of activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from torch import Tensor, nn

from plinio_deploy.quantization.channels import TiedChannels, check_pruned
from plinio_deploy.quantization.config import QuantConfig
from plinio_deploy.quantization.graph import Conv, Graph, Linear, Node
from plinio_deploy.quantization.groups import quantizer_groups
from plinio_deploy.quantization.layers import QuantLayer
from plinio_deploy.quantization.quantizers import ActivationQuantizer, InputQuantizer

Mode = Literal["quantized", "float", "observe"]
"""What a network computes: with quantizers, without any, or without while their clips are being chosen."""


class Walkable(Protocol):
    """What a walk over a fake-quantized network, node by node, asks of it; `QuantNetwork` says what each is."""

    nodes: tuple[Node, ...]
    layers: nn.ModuleDict
    layer_of: dict[str, str]
    folded: dict[str, Tensor]
    norms: nn.ModuleDict
    mode: Mode
    training: bool

    def eval(self) -> Any:
        """Switch to eval mode."""

    def train(self, mode: bool = True) -> Any:
        """Switch to training mode."""

    def evaluate(self, node: Node, operands: Sequence[Tensor], inputs: Sequence[Tensor] = ()) -> Tensor:
        """The result of one node from those of its inputs."""
        ...

    def before_rounding(self, node: Node, x: Tensor) -> Tensor:
        """What a conv or linear node computes from ``x`` before saturation and rounding."""
        ...


def _key(taken: Mapping[str, object], name: str) -> str:
    """A name that `nn.ModuleDict` accepts."""
    while hasattr(nn.ModuleDict, name) or name in taken:
        name += "_"
    return name


def make_layers(
    graph: Graph, config: QuantConfig, tied: TiedChannels
) -> tuple[nn.ModuleDict, dict[str, str], dict[str, Tensor]]:
    """Layers with weights, by key.

    Args:
        graph: simplified.
        config: says the width of each output channel.
        tied: channels of the graph.

    Returns:
        The layers; the key of each conv and linear node's layer; and by key what a folded batch norm multiplies by.

    Raises:
        UsageError: 0 bits where a channel cannot be removed.
    """
    layers: dict[str, nn.Module] = {}
    folded: dict[str, Tensor] = {}
    layer_of: dict[str, str] = {}
    by_parameters: dict[tuple[str, tuple[int, ...]], str] = {}
    widths: dict[str, tuple[int, ...]] = {}
    for node in graph.nodes:
        if not isinstance(node.operator, Conv | Linear):
            continue
        held = graph.parameters[node.operator.parameters]
        bits = config.weight_bits(node, held.weight.shape[0])
        shared = (node.operator.parameters, bits)
        if shared not in by_parameters:
            key = by_parameters[shared] = _key(layers, node.name)
            layers[key] = QuantLayer(
                held.weight,
                held.bias,
                bits,
                learned=config.learn_weight_steps,
                narrow=config.narrow_weights,
                shared=config.shares_step(node),
            )
            if held.folded is not None:
                folded[key] = held.folded
        layer_of[node.name] = by_parameters[shared]
        widths[node.name] = bits
    check_pruned(graph.by_name(), tied, widths)
    return nn.ModuleDict(layers), layer_of, folded


def make_quantizers(graph: Graph, config: QuantConfig) -> tuple[nn.ModuleDict, dict[str, str]]:
    """Quantizers of inputs and activations, by key; and the key of the one that each node's result goes through."""
    group_of, groups = quantizer_groups(graph, config)
    quantizers: dict[str, nn.Module] = {}
    keys: dict[str, str] = {}
    for name, group in groups.items():
        keys[name] = _key(quantizers, name)
        if group.input_index is not None:
            quantizers[keys[name]] = InputQuantizer(group.bits, config.range_of(group.input_index))
        else:
            quantizers[keys[name]] = ActivationQuantizer(group.bits, signed=group.signed)
    return nn.ModuleDict(quantizers), {name: keys[group] for name, group in group_of.items()}
