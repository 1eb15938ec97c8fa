# SPDX-License-Identifier: Apache-2.0
"""What a network under search costs: layers in parts of one precision each, tensors with their expected bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor

from plinio_deploy.quantization.graph import Node
from plinio_deploy.quantization.layers import QuantLayer
from plinio_deploy.search.cost.evaluate import LayerUse, Number, TensorUse
from plinio_deploy.search.graph.usage import Call, Program
from plinio_deploy.search.methods.mps.network import MixedNetwork
from plinio_deploy.search.methods.mps.quantizers import MixedActivation, MixedInput, MixedLayer

Mix = list[tuple[int, Number]]
"""Bits and the probability of each."""


@dataclasses.dataclass(frozen=True)
class _Part:
    """Output channels of one precision, there with a probability."""

    bits: int
    channels: Number
    probability: Number = 1.0


class Usage:
    """The network as it stands, for one evaluation of a cost; it has to be settled.

    Args:
        network: the network under search.
        plan: the calls of the traced model.
        once: count each module at its first call only.
    """

    def __init__(self, network: MixedNetwork, plan: Program, *, once: bool) -> None:
        self._network = network
        self._once = once
        self._by_path: dict[str, list[Node]] = {}
        for node in network.nodes:
            self._by_path.setdefault(node.path, []).append(node)
        self._node_of: dict[int, Node] = {}
        seen: dict[str, int] = {}
        self._first: set[int] = set()
        modules: set[int] = set()
        for call in plan.calls:
            nodes = self._by_path.get(call.name, [])
            if nodes:
                index = seen[call.name] = seen.get(call.name, -1) + 1
                self._node_of[id(call)] = nodes[min(index, len(nodes) - 1)]
            if call.module is None or id(call.module) not in modules:
                self._first.add(id(call))
                modules.add(id(call.module))
        self._mixes: dict[str, Mix] = {}
        self._share: dict[str, Number] = {}
        self._bits: dict[str, Number] = {}
        self._full: dict[str, int] = dict(plan.inputs)
        keep = network.keep_channels()
        soft = network.training and all(layer.choice.soft for layer in self._layers())
        self._keep = None if keep is None else keep.probability if soft else keep.straight_through()

    def _layers(self) -> Iterator[MixedLayer]:
        for layer in self._network.layers.values():
            if isinstance(layer, MixedLayer):
                yield layer

    # ------------------------------------------------------------------------------------------ layers

    def parts(self, call: Call, use: LayerUse) -> list[LayerUse]:
        """One use per precision of the input and of the weights; uses that nothing is known of stay as they are."""
        node = self._node_of.get(id(call))
        if node is None or not node.inputs:
            return [use]
        inputs = self._mix(node.inputs[0])
        if node.name not in self._network.layer_of:
            return [
                dataclasses.replace(
                    use, spec={**use.spec, "in_precision": bits}, weight=_times(use.weight, theta), part=index
                )
                for index, (bits, theta) in enumerate(inputs)
            ]
        if self._once and id(call) not in self._first:
            return []
        linear = "in_features" in use.spec
        common: dict[str, Any] = {**use.spec, "out_precision": _expected(self._mix(node.name))}
        if self._keep is not None:
            common["in_features" if linear else "in_channels"] = self._in_channels(node)
        parts = self._weight_parts(node)
        if len(parts) > 1 and all(isinstance(part.probability, float) for part in parts):
            # The channels of one layer are divided among its parts: what is done once per layer, they share.
            common["all_channels"] = sum(part.channels for part in parts)
        found: list[LayerUse] = []
        for part in parts:
            for bits, theta in inputs:
                spec = {**common, "in_precision": bits, "w_precision": part.bits}
                spec["out_features" if linear else "out_channels"] = part.channels
                weight = _times(_times(use.weight, theta), part.probability)
                found.append(dataclasses.replace(use, spec=spec, weight=weight, part=len(found)))
        return found

    def _weight_parts(self, node: Node) -> list[_Part]:
        layer = cast(QuantLayer | MixedLayer, self._network.layers[self._network.layer_of[node.name]])
        count = len(layer.bias)
        if isinstance(layer, QuantLayer):
            return [_Part(layer.weight_quantizer.bits[0], float(count))]
        assert layer.now is not None
        rows = layer.now.rows
        if rows.shape[1] == 1:
            chances = rows.flatten().unbind()
            return [_Part(bits, float(count), chance) for bits, chance in zip(layer.widths, chances, strict=True)]
        if layer.prunes:
            assert self._network.pruning is not None
            assert self._keep is not None
            rows = rows * self._keep[self._network.pruning.components(self._network.layer_of[node.name])]
        totals = rows.sum(1).unbind()
        return [_Part(bits, total) for bits, total in zip(layer.widths, totals, strict=True)]

    def _in_channels(self, node: Node) -> Tensor:
        assert self._keep is not None
        assert self._network.pruning is not None
        counts = self._network.input_counts[node.name].to(self._keep)
        return (counts * self._keep).sum()

    def _mix(self, name: str) -> Mix:
        """Precisions of a node's result."""
        key = self._network.quantizer_of[name]
        if key not in self._mixes:
            quantizer = cast(Any, self._network.quantizers[key])
            if isinstance(quantizer, MixedActivation | MixedInput):
                theta = quantizer.now
                assert theta is not None
                self._mixes[key] = list(zip(quantizer.choice.precisions, theta.unbind(), strict=True))
            else:
                self._mixes[key] = [(quantizer.bits, 1.0)]
        return self._mixes[key]

    # ------------------------------------------------------------------------------------------ tensors

    def tensor(self, call: Call) -> TensorUse:
        """What a call writes, with its expected bits and living elements; to be called in order."""
        node = self._node_of.get(id(call))
        share, bits = self._inherited(call)
        if node is not None:
            bits = _expected(self._mix(node.name))
            if node.name in self._network.layer_of and self._keep is not None:
                own = torch.from_numpy(self._network.channels.outputs[node.name]).to(self._keep.device)
                share = self._keep[own].mean()
        self._share[call.writes], self._bits[call.writes] = share, bits
        self._full[call.writes] = call.elements
        return TensorUse(call.writes, call.elements * share, bits)

    def _inherited(self, call: Call) -> tuple[Number, Number]:
        """Share of the elements that live, and bits, as far as they follow from what is read."""
        read = [name for name in call.reads if name in self._full]
        if not read:
            return 1.0, 8.0
        total = sum(self._full[name] for name in read)
        alive: Number = 0.0
        for name in read:
            alive = alive + self._full[name] * self._share.get(name, 1.0)
        return alive / max(total, 1), self._bits.get(read[0], 8.0)


def _times(a: Number, b: Number) -> Number:
    """``a * b``, without an operation on tensors where one of them is 1."""
    if isinstance(a, float) and a == 1.0:
        return b
    return a if isinstance(b, float) and b == 1.0 else a * b


def _expected(mix: Mix) -> Number:
    total: Number = 0.0
    for bits, theta in mix:
        total = total + bits * theta
    return total


__all__ = ["Usage"]
