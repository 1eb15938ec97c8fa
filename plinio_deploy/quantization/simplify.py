# SPDX-License-Identifier: Apache-2.0
"""Passes over the captured graph: batch norms and activations join the layer before them, padding the one after it.

After `simplify` no `BatchNorm` is left, and a `Clamp` or `Pad` only where it could not join a neighbour.
"""

from __future__ import annotations

import dataclasses
import math

import torch

from plinio_deploy.quantization.calls import unsupported
from plinio_deploy.quantization.graph import (
    Add,
    AvgPool,
    BatchNorm,
    Clamp,
    Concat,
    Conv,
    Graph,
    Linear,
    MaxPool,
    Mean,
    Node,
    Pad,
    Parameters,
    Permute,
    Reshape,
    compose,
)

_SATURATING = (Conv, Linear, Add, AvgPool, Mean, Clamp)
"""Operators whose requantization can saturate at any bound for free."""

_COMMUTING = (MaxPool, Reshape, Permute, Pad, Concat)
"""Operators that only move or compare values, so a saturation may as well happen before them."""


def simplify(graph: Graph) -> Graph:
    """Fold batch norms, fuse activations and padding."""
    return fuse_pads(fuse_clamps(fold_batch_norms(graph)))


def fold_batch_norms(graph: Graph) -> Graph:
    """Fold each batch norm into the conv or linear before it; where there is none, make it a depthwise 1x1 convolution.

    Raises:
        UnsupportedModel: a batch norm that neither works for.
    """
    readers = graph.readers()
    parameters = dict(graph.parameters)
    nodes: dict[str, Node] = {}
    renamed: dict[str, str] = {}
    for original in graph.nodes:
        node = dataclasses.replace(original, inputs=tuple(renamed.get(name, name) for name in original.inputs))
        if not isinstance(node.operator, BatchNorm):
            nodes[node.name] = node
            continue
        producer = nodes[node.inputs[0]]
        alone = readers[producer.name] == [node.name] and producer.name not in graph.outputs
        flat_linear = isinstance(producer.operator, Linear) and len(producer.shape) == 1
        if alone and producer.clamp is None and (isinstance(producer.operator, Conv) or flat_linear):
            nodes[producer.name] = _fold(producer, node.operator, parameters)
            readers[producer.name] = readers[node.name]
            renamed[node.name] = producer.name
        else:
            for extra in _as_convolution(node, node.operator, parameters):
                nodes[extra.name] = extra
    outputs = tuple(renamed.get(name, name) for name in graph.outputs)
    used = {n.operator.parameters for n in nodes.values() if isinstance(n.operator, Conv | Linear)}
    kept = {key: value for key, value in parameters.items() if key in used}
    return dataclasses.replace(graph, nodes=tuple(nodes.values()), outputs=outputs, parameters=kept)


def _fold(producer: Node, norm: BatchNorm, parameters: dict[str, Parameters]) -> Node:
    assert isinstance(producer.operator, Conv | Linear)
    old = parameters[producer.operator.parameters]
    scale = norm.scale.view(-1, *(1,) * (old.weight.dim() - 1))
    bias = norm.shift if old.bias is None else old.bias.double() * norm.scale + norm.shift
    key = f"{producer.operator.parameters},{norm.key}"
    factor = norm.scale if old.folded is None else norm.scale * old.folded
    parameters.setdefault(key, Parameters((old.weight.double() * scale).float(), bias.float(), factor.float()))
    return dataclasses.replace(producer, operator=dataclasses.replace(producer.operator, parameters=key))


def _as_convolution(node: Node, norm: BatchNorm, parameters: dict[str, Parameters]) -> list[Node]:
    """``x * scale + shift`` as a depthwise 1x1 convolution, with reshapes around it for a flat vector."""
    channels = norm.scale.numel()
    rank = len(node.shape)
    if rank > 3:
        raise unsupported(f"batch_norm of shape {node.shape}", "one or two spatial dimensions", node.where)
    parameters[norm.key] = Parameters(norm.scale.float().view(-1, 1, 1, 1), norm.shift.float())
    conv = Conv(norm.key, (1, 1), (0, 0, 0, 0), (1, 1), channels, max(1, rank - 1))
    if rank > 1:
        return [dataclasses.replace(node, operator=conv)]
    wide = dataclasses.replace(node, name=f"{node.name}_in", operator=Reshape(), shape=(channels, 1))
    middle = dataclasses.replace(
        node, name=f"{node.name}_scale", operator=conv, inputs=(wide.name,), shape=(channels, 1)
    )
    return [wide, middle, dataclasses.replace(node, operator=Reshape(), inputs=(middle.name,))]


def fuse_clamps(graph: Graph) -> Graph:
    """Let each activation be the saturation of whatever computes its input, where nobody else reads that."""
    nodes = graph.by_name()
    readers = graph.readers()
    renamed: dict[str, str] = {}
    for node in graph.nodes:
        if not isinstance(node.operator, Clamp):
            continue
        source = _resolve(renamed, node.inputs[0])
        search = _Search(nodes, readers, renamed, graph.outputs, node.operator)
        producers = search.producers(source)
        if producers is None:
            continue
        for name in producers:
            nodes[name] = dataclasses.replace(nodes[name], clamp=compose(nodes[name].clamp, node.operator))
        renamed[node.name] = source
        readers[source] = readers[node.name]
        del nodes[node.name]
    kept = [
        dataclasses.replace(node, inputs=tuple(_resolve(renamed, name) for name in node.inputs))
        for node in nodes.values()
    ]
    outputs = tuple(_resolve(renamed, name) for name in graph.outputs)
    return dataclasses.replace(graph, nodes=tuple(kept), outputs=outputs)


def _resolve(renamed: dict[str, str], name: str) -> str:
    while name in renamed:
        name = renamed[name]
    return name


@dataclasses.dataclass(frozen=True)
class _Search:
    """Looks for the nodes that may saturate in place of a clamp."""

    nodes: dict[str, Node]
    readers: dict[str, list[str]]
    renamed: dict[str, str]
    outputs: tuple[str, ...]
    clamp: Clamp

    def producers(self, name: str) -> list[str] | None:
        """Those that compute ``name``; ``None`` if somebody needs the value without the clamp."""
        node = self.nodes[name]
        if len(self.readers[name]) != 1 or name in self.outputs:
            return None
        if isinstance(node.operator, _SATURATING):
            return [name]
        if not isinstance(node.operator, _COMMUTING):
            return None
        if isinstance(node.operator, Pad) and not self.clamp.low <= 0.0 <= self.clamp.high:
            return None
        found: list[str] = []
        for source in node.inputs:
            more = self.producers(_resolve(self.renamed, source))
            if more is None:
                return None
            found.extend(more)
        return found


def fuse_pads(graph: Graph) -> Graph:
    """Let convolutions and average poolings do the zero padding before them; a padding that nobody reads goes away."""
    nodes: dict[str, Node] = {}
    for original in graph.nodes:
        node = original
        while isinstance(node.operator, Conv | AvgPool) and isinstance(nodes[node.inputs[0]].operator, Pad):
            before = nodes[node.inputs[0]]
            assert isinstance(before.operator, Pad)
            first, second = before.operator.padding, node.operator.padding
            padding = (first[0] + second[0], first[1] + second[1], first[2] + second[2], first[3] + second[3])
            operator = dataclasses.replace(node.operator, padding=padding)
            node = dataclasses.replace(node, operator=operator, inputs=before.inputs)
        nodes[node.name] = node
    read = set(graph.outputs)
    kept: list[Node] = []
    for node in reversed(nodes.values()):
        if node.name in read or not isinstance(node.operator, Pad):
            kept.append(node)
            read.update(node.inputs)
    return dataclasses.replace(graph, nodes=tuple(reversed(kept)))


def check_finite(graph: Graph) -> None:
    """Refuse parameters that are not finite.

    Raises:
        UnsupportedModel: names the layer.
    """
    for node in graph.nodes:
        if not isinstance(node.operator, Conv | Linear):
            continue
        held = graph.parameters[node.operator.parameters]
        tensors = [held.weight] if held.bias is None else [held.weight, held.bias]
        worst = max(float(t.abs().max()) if torch.isfinite(t).all() else math.inf for t in tensors)
        if not math.isfinite(worst):
            raise unsupported("a weight or bias that is not finite", "finite parameters", node.where)
