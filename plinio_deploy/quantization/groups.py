# SPDX-License-Identifier: Apache-2.0
"""Which values share a quantizer, and which of them can be negative.

Operators that only move or compare values (max pooling, padding, reshapes) hand on their input's quantizer. The inputs
of a concat share one, so that it is a plain copy; an input that cannot (the network's own input, or another bit width)
is requantized on its way in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from plinio_deploy.quantization.config import QuantConfig
from plinio_deploy.quantization.graph import (
    Add,
    AvgPool,
    Concat,
    Graph,
    Input,
    MaxPool,
    Mean,
    Node,
    Pad,
    Permute,
    Reshape,
)

_HANDING_ON = (MaxPool, Pad, Permute, Reshape)


@dataclass(frozen=True)
class Group:
    """One quantizer.

    Attributes:
        name: of the first node that writes through it.
        bits: 2, 4 or 8.
        signed: whether any of its values can be negative.
        input_index: for a network input's own quantizer the input's index, else ``None``.
    """

    name: str
    bits: int
    signed: bool
    input_index: int | None


def quantizer_groups(graph: Graph, config: QuantConfig) -> tuple[dict[str, str], dict[str, Group]]:
    """Assign quantizers.

    Returns:
        The group's name for every node, and the groups by name.
    """
    nodes = graph.by_name()
    bits = _widths(graph, config)
    parent = {name: name for name in nodes}

    def find(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    position = {name: index for index, name in enumerate(nodes)}
    for node in graph.nodes:
        if isinstance(node.operator, _HANDING_ON):
            parent[node.name] = find(node.inputs[0])
        elif isinstance(node.operator, Concat):
            for name in node.inputs:
                root, own = find(name), find(node.name)
                if root == own or isinstance(nodes[root].operator, Input) or bits[root] != bits[own]:
                    continue
                first, later = sorted((root, own), key=lambda n: position[n])
                parent[later] = first
    negative = can_be_negative(graph, config)
    members: dict[str, list[str]] = {}
    for name in nodes:
        members.setdefault(find(name), []).append(name)
    groups: dict[str, Group] = {}
    for root, names in members.items():
        operator = nodes[root].operator
        index = operator.index if isinstance(operator, Input) else None
        groups[root] = Group(root, bits[root], any(negative[name] for name in names), index)
    return {name: find(name) for name in nodes}, groups


def _widths(graph: Graph, config: QuantConfig) -> dict[str, int]:
    """Width of every node's result, were it on its own: a concat takes that of its first input that is computed."""
    nodes = graph.by_name()
    outputs = _behind_outputs(graph, nodes)
    bits: dict[str, int] = {}
    for node in graph.nodes:
        if isinstance(node.operator, Input):
            bits[node.name] = config.input_bits
        elif isinstance(node.operator, _HANDING_ON):
            bits[node.name] = bits[node.inputs[0]]
        elif isinstance(node.operator, Concat):
            computed = [name for name in node.inputs if not isinstance(nodes[name].operator, Input)]
            bits[node.name] = bits[(computed or list(node.inputs))[0]]
        else:
            bits[node.name] = config.activation_bits(node, is_output=node.name in outputs)
    return bits


def _behind_outputs(graph: Graph, nodes: Mapping[str, Node]) -> set[str]:
    """The outputs, and what reaches them only through operators that hand on a quantizer."""
    found: set[str] = set()
    pending = list(graph.outputs)
    while pending:
        name = pending.pop()
        found.add(name)
        if isinstance(nodes[name].operator, (*_HANDING_ON, Concat)):
            pending.extend(nodes[name].inputs)
    return found


def can_be_negative(graph: Graph, config: QuantConfig) -> dict[str, bool]:
    """Whether the result of each node can hold negative values, by its construction."""
    negative: dict[str, bool] = {}
    for node in graph.nodes:
        if isinstance(node.operator, Input):
            negative[node.name] = config.range_of(node.operator.index)[0] < 0
        elif node.saturation.low >= 0:
            negative[node.name] = False
        elif isinstance(node.operator, (*_HANDING_ON, Concat, Add, AvgPool, Mean)):
            negative[node.name] = any(negative[name] for name in node.inputs)
        else:
            negative[node.name] = True
    return negative
