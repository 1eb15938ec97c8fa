# SPDX-License-Identifier: Apache-2.0
"""Which output channels live and die together: the channels that joint pruning (0 bits) may remove.

Every element of every result, as it lies in memory (`layout`), carries the number of the channel that it comes from. A
dense convolution or linear layer makes new channels; a depthwise one hands its input's on; an add ties the channels
that meet in it; a concat puts them side by side; a flattened map repeats them, once per pixel. Wherever an op reads
``(H, W, C)``, whatever lies in one of the ``C`` planes is one channel.

What comes out is a list of components of tied channels, and for each layer which component each of its output and
input channels belongs to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from plinio_deploy.errors import UsageError
from plinio_deploy.quantization.graph import Add, Concat, Conv, Graph, Input, Linear, Mean, Node
from plinio_deploy.quantization.layout import Place, Shape, places

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Component:
    """Output channels that exist only together.

    Attributes:
        members: ``(node, output channel)`` of every conv and linear that makes or hands on this channel, in the order
            of execution. Empty for a channel of a network input that only dense layers read.
        prunable: whether the channels can be removed. Those of network inputs and outputs cannot, nor can those that a
            saturation keeps away from 0.
    """

    members: tuple[tuple[str, int], ...]
    prunable: bool


@dataclass(frozen=True, eq=False)
class TiedChannels:
    """The components of a graph.

    Attributes:
        components: all of them.
        outputs: for each conv and linear node the component of each of its output channels, ``(C_out,)``.
        inputs: for each of them the component of each of its input channels: ``(C_in,)``, for a conv of all groups
            together, for a linear its columns in torch's order.
    """

    components: tuple[Component, ...]
    outputs: Mapping[str, IntArray]
    inputs: Mapping[str, IntArray]

    def prunable(self, node: str) -> npt.NDArray[np.bool_]:
        """Which output channels of a conv or linear node may be removed, ``(C_out,)``."""
        return np.array([self.components[index].prunable for index in self.outputs[node]], dtype=np.bool_)


def tied_channels(graph: Graph, where: Mapping[str, Place] | None = None) -> TiedChannels:
    """Find the components of tied channels.

    Args:
        graph: a simplified graph (`simplify.simplify`).
        where: `layout.places` of it, if already known.

    Raises:
        UnsupportedModel: an operator would need elements to be moved in memory (see `layout.places`).
    """
    return _Analysis(graph, places(graph) if where is None else where).run()


class _Union:
    """Disjoint sets of integers; `frozen` is a mark that a set has if one of its members has."""

    def __init__(self) -> None:
        self._parent = np.zeros(0, dtype=np.int64)
        self._frozen: set[int] = set()

    def fresh(self, count: int) -> IntArray:
        first = len(self._parent)
        ids = np.arange(first, first + count, dtype=np.int64)
        self._parent = np.concatenate([self._parent, ids])
        return ids

    def find(self, ids: IntArray) -> IntArray:
        """Representatives, elementwise."""
        while True:
            above = self._parent[ids]
            if np.array_equal(above, ids):
                return above
            ids = above

    def unify(self, first: IntArray, second: IntArray) -> None:
        """Elementwise; both of one shape."""
        pairs = np.stack([self.find(first).ravel(), self.find(second).ravel()], axis=1)
        for a, b in np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0):
            root, other = sorted(int(self.find(np.array([item]))[0]) for item in (a, b))
            self._parent[other] = root

    def freeze(self, ids: IntArray) -> None:
        self._frozen.update(np.unique(ids).tolist())

    def frozen_roots(self) -> set[int]:
        return set(self.find(np.array(sorted(self._frozen), dtype=np.int64)).tolist())


class _Analysis:
    """One walk over the nodes."""

    def __init__(self, graph: Graph, where: Mapping[str, Place]) -> None:
        self._graph = graph
        self._places = where
        self._union = _Union()
        self._ids: dict[str, IntArray] = {}
        """Of every element of a node's result, flat, in memory's order."""
        self._outputs: dict[str, IntArray] = {}
        self._inputs: dict[str, IntArray] = {}
        self._made: dict[str, IntArray] = {}
        """Output channels by the parameters that make them: layers that share these share their channels."""

    def run(self) -> TiedChannels:
        for node in self._graph.nodes:
            self._ids[node.name] = self._visit(node).ravel()
            bounds = node.saturation
            if not bounds.low <= 0.0 <= bounds.high:  # an absent channel would be a constant other than 0
                self._union.freeze(self._ids[node.name])
        for name in self._graph.outputs:
            self._union.freeze(self._ids[name])
        return self._collect()

    def _visit(self, node: Node) -> IntArray:
        """Channel of every element of the result, in its shape in memory."""
        place = self._places[node.name]
        operator = node.operator
        if isinstance(operator, Input):
            ids = self._spread(self._union.fresh(place.shape[-1]), place.shape)
            self._union.freeze(ids)
            return ids
        read = [
            self._planes(self._ids[name], shape) for name, shape in zip(node.inputs, place.input_shapes, strict=True)
        ]
        if isinstance(operator, Conv | Linear):
            return self._spread(self._layer(node, operator, read[0]), place.shape)
        if isinstance(operator, Add):
            self._union.unify(read[0], read[1])
            return read[0]
        if isinstance(operator, Concat):
            return self._planes(np.concatenate(read, axis=place.axis), place.shape)
        if read[0].size == np.prod(place.shape) and not isinstance(operator, Mean):
            return self._planes(read[0], place.shape)
        return self._spread(read[0].reshape(-1, read[0].shape[-1])[0], place.shape)

    def _planes(self, ids: IntArray, shape: Shape) -> IntArray:
        """The elements as ``shape``; each plane of a map is made one channel."""
        shaped = ids.reshape(shape)
        if len(shape) == 3:
            first = np.broadcast_to(shaped[:1, :1], shape)
            self._union.unify(first, shaped)
        return shaped

    def _spread(self, channels: IntArray, shape: Shape) -> IntArray:
        return np.broadcast_to(channels, shape)

    def _layer(self, node: Node, operator: Conv | Linear, read: IntArray) -> IntArray:
        source = self._places[node.inputs[0]]
        channels = node.shape[0] if isinstance(operator, Conv) else node.shape[-1]
        if read.ndim == 1:  # the columns of a linear are in torch's order, memory need not be
            columns = np.empty_like(read)
            columns[source.order] = read
        else:
            columns = read[0, 0]
        self._inputs[node.name] = columns
        made = self._made.setdefault(operator.parameters, self._union.fresh(channels))
        self._outputs[node.name] = made
        groups = operator.groups if isinstance(operator, Conv) else 1
        if groups > 1:
            self._groups(columns.reshape(groups, -1), made.reshape(groups, -1))
        return made

    def _groups(self, columns: IntArray, made: IntArray) -> None:
        """Ties within a convolution with groups: depthwise, inputs with outputs; else equal places of all groups."""
        if columns.shape[1] == 1:
            self._union.unify(np.broadcast_to(columns, made.shape), made)
            return
        for rows in (columns, made):
            self._union.unify(np.broadcast_to(rows[:1], rows.shape), rows)

    def _collect(self) -> TiedChannels:
        frozen = self._union.frozen_roots()
        number: dict[int, int] = {}
        members: list[list[tuple[str, int]]] = []
        prunable: list[bool] = []

        def numbered(ids: IntArray) -> IntArray:
            for root in self._union.find(ids).tolist():
                if root not in number:
                    number[root] = len(members)
                    members.append([])
                    prunable.append(root not in frozen)
            return np.array([number[root] for root in self._union.find(ids).tolist()], dtype=np.int64)

        outputs: dict[str, IntArray] = {}
        inputs: dict[str, IntArray] = {}
        for name, ids in self._outputs.items():
            inputs[name] = numbered(self._inputs[name])
            outputs[name] = numbered(ids)
            for channel, component in enumerate(outputs[name].tolist()):
                members[component].append((name, channel))
        components = tuple(Component(tuple(own), can) for own, can in zip(members, prunable, strict=True))
        return TiedChannels(components, outputs, inputs)


def check_pruned(nodes: Mapping[str, Node], tied: TiedChannels, bits: Mapping[str, Sequence[int]]) -> None:
    """Refuse 0-bit channels that cannot be removed.

    Args:
        nodes: the graph's, by name, for places in messages.
        tied: its components.
        bits: width of each output channel by conv or linear node.

    Raises:
        UsageError: a layer would have no channel left; 0 bits differ among tied channels, or are asked of channels that
            have to stay; names the layers.
    """
    if all(0 not in widths for widths in bits.values()):
        return
    for name, widths in bits.items():
        if not any(widths):
            hints = ("Keep one channel, or take the layer out of the model.",)
            where = nodes[name].path
            raise UsageError("all channels of a layer have 0 bits", where=where, expected="one or more", hints=hints)
    for component in tied.components:
        gone = [member for member in component.members if bits[member[0]][member[1]] == 0]
        if not gone:
            continue
        first = f"channel {gone[0][1]} of {nodes[gone[0][0]].path}"
        if not component.prunable:
            raise UsageError(
                "a channel with 0 bits cannot be removed",
                where=nodes[gone[0][0]].path,
                got=f"0 bits for {first}",
                expected="2, 4 or 8 bits: the channel belongs to an input or output of the network, or cannot be 0",
            )
        kept = [member for member in component.members if bits[member[0]][member[1]] != 0]
        if kept:
            paths = sorted({nodes[name].path for name, _ in component.members})
            raise UsageError(
                "0 bits must agree over channels that are tied",
                where=nodes[kept[0][0]].path,
                got=f"0 bits for {first}, but not for channel {kept[0][1]} of {nodes[kept[0][0]].path}",
                expected="0 bits for all of them or none",
                hints=["Tied by adds, depthwise layers or groups: " + ", ".join(paths)],
            )
