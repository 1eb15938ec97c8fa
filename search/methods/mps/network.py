# SPDX-License-Identifier: Apache-2.0
"""The fake-quantized network with several precisions in each place."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from plinio_deploy.errors import UsageError
from plinio_deploy.quantization.calibrate import Method, choose_clip
from plinio_deploy.quantization.config import LayerConfig, QuantConfig
from plinio_deploy.quantization.graph import Conv, Graph, Input, Linear, Node, Parameters
from plinio_deploy.quantization.layers import QuantLayer
from plinio_deploy.quantization.network import BIAS_BITS, QuantNetwork
from plinio_deploy.quantization.quantizers import ActivationQuantizer, InputQuantizer
from plinio_deploy.search.methods.mps.choice import Choice, probabilities
from plinio_deploy.search.methods.mps.pruning import Keep, Pruning, multiplicities
from plinio_deploy.search.methods.mps.quantizers import MixedActivation, MixedInput, MixedLayer, WeightTheta


@dataclasses.dataclass(frozen=True)
class Widths:
    """The precisions that are searched.

    Attributes:
        weights: by module path of the layer, ascending.
        outputs: by path of the layer or operation.
        inputs: of all inputs of the network.
        per_channel: whether each output channel has a choice of its own.
        search_outputs: whether the network's outputs are searched too; they have 8 bits otherwise.
    """

    weights: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]
    inputs: tuple[int, ...]
    per_channel: bool
    search_outputs: bool = False


class MixedNetwork(QuantNetwork):
    """A `QuantNetwork` whose quantizers mix precisions in training and take the likeliest in eval mode.

    Places with one precision hold the plain quantizers.

    Args:
        graph: captured and simplified.
        config: input range, and whether steps are learned; its widths mean nothing here.
        widths: the precisions.

    Raises:
        UsageError: 0 bits without a choice per channel; activations that share a quantizer have no width in common.
    """

    def __init__(self, graph: Graph, config: QuantConfig, widths: Widths) -> None:
        # One width everywhere, so that whatever can share a quantizer does; after the search it has one width too.
        plain = dataclasses.replace(config, w_bits=8, a_bits=8, input_bits=8, output_bits=8, layers={})
        super().__init__(graph, plain)
        self.graph = dataclasses.replace(graph, parameters={})
        self._mix_layers(widths)
        self._mix_quantizers(widths)
        nodes = {key: node for node, key in reversed(self.layer_of.items())}
        mixed = {key: (nodes[key], self._prunes(key)) for key in self.layers}
        self.pruning = Pruning(self.channels, mixed) if any(prunes for _, prunes in mixed.values()) else None
        self.keep: Keep | None = None
        self.input_counts = multiplicities(self.channels, list(self.layer_of))

    # ------------------------------------------------------------------------------------------ construction

    def _mix_layers(self, widths: Widths) -> None:
        paths = {self.layer_of[node.name]: node.path for node in reversed(self.nodes) if node.name in self.layer_of}
        for key, path in paths.items():
            precisions = widths.weights[path]
            if 0 in precisions and not widths.per_channel:
                raise UsageError(
                    "0 bits prune channels, so they need a choice per channel",
                    where=path,
                    got=precisions,
                    hints=("Pass w_search_type=MPSType.PER_CHANNEL.",),
                )
            held = cast(QuantLayer, self.layers[key])
            learned, narrow = held.weight_quantizer.log_step.requires_grad, self.config.narrow_weights
            if len(precisions) == 1:
                bits = (precisions[0],) * len(held.bias)
                self.layers[key] = QuantLayer(held.weight, held.bias, bits, learned=learned, narrow=narrow)
            else:
                choice = Choice(precisions, len(held.bias) if widths.per_channel else None)
                known = {8: held.weight_quantizer.scale.detach()}
                self.layers[key] = MixedLayer(held.weight, held.bias, choice, known, learned=learned, narrow=narrow)

    def _mix_quantizers(self, widths: Widths) -> None:
        sets = self._output_sets(widths)
        choices: dict[str, Choice] = {}
        root = self._tied_quantizers()
        for key in list(self.quantizers):
            old, precisions = self.quantizers[key], sets[root[key]]
            if isinstance(old, InputQuantizer):
                limits = self.config.range_of(self._input_index(key))
                if len(precisions) == 1:
                    self.quantizers[key] = InputQuantizer(precisions[0], limits)
                else:
                    self.quantizers[key] = MixedInput(choices.setdefault("", Choice(precisions)), limits)
                continue
            assert isinstance(old, ActivationQuantizer)
            if len(precisions) == 1:
                self.quantizers[key] = ActivationQuantizer(precisions[0], signed=old.signed)
            else:
                choice = choices.setdefault(root[key], Choice(precisions))
                self.quantizers[key] = MixedActivation(choice, signed=old.signed)

    def _tied_quantizers(self) -> dict[str, str]:
        """For each quantizer the first of those with equal width: a module called twice has one width."""
        root = {key: key for key in self.quantizers}

        def find(key: str) -> str:
            while root[key] != key:
                key = root[key]
            return key

        first: dict[str, str] = {}
        for node, path in self._quantized_nodes():
            key = find(self.quantizer_of[node.name])
            root[key] = first.setdefault(path, key)
        return {key: find(key) for key in root}

    def _output_sets(self, widths: Widths) -> dict[str, tuple[int, ...]]:
        """Widths by first of tied quantizers: those that all places behind it allow."""
        root = self._tied_quantizers()
        sets: dict[str, tuple[int, ...]] = {}
        where: dict[str, str] = {}
        for node, path in self._quantized_nodes():
            key = root[self.quantizer_of[node.name]]
            own = widths.outputs[path]
            common = tuple(bits for bits in sets.get(key, own) if bits in own)
            if not common:
                raise UsageError(
                    "activations that share a quantizer have no precision in common",
                    where=f"{where[key]} and {path}",
                    got=f"{sets[key]} and {own}",
                )
            sets[key] = common
            where.setdefault(key, path)
        if not widths.search_outputs:
            sets.update(dict.fromkeys((root[self.quantizer_of[name]] for name in self.outputs), (8,)))
        for key, quantizer in self.quantizers.items():
            if isinstance(quantizer, InputQuantizer):
                sets[key] = widths.inputs
        return {key: sets.get(key, (8,)) for key in self.quantizers}

    def _quantized_nodes(self) -> Iterator[tuple[Node, str]]:
        """Nodes whose width a configuration can state, with their paths."""
        for node in self.nodes:
            if not isinstance(node.operator, Input) and self.states_width(node):
                yield node, node.path

    def states_width(self, node: Node) -> bool:
        """Whether a node's result is rounded by itself and not just handed on."""
        return not node.inputs or all(self.quantizer_of[node.name] != self.quantizer_of[name] for name in node.inputs)

    def _input_index(self, key: str) -> int:
        for node in self.nodes:
            if isinstance(node.operator, Input) and self.quantizer_of[node.name] == key:
                return node.operator.index
        raise AssertionError(key)

    def _prunes(self, key: str) -> bool:
        layer = self.layers[key]
        return isinstance(layer, MixedLayer) and layer.prunes

    # ------------------------------------------------------------------------------------------ running

    def choices(self) -> list[Choice]:
        """All selections, each once."""
        return [module for module in self.modules() if isinstance(module, Choice)]

    def trace(self, *inputs: Tensor) -> dict[str, Tensor]:
        """See `QuantNetwork.trace`."""
        if self.mode != "quantized":
            return super().trace(*inputs)
        for choice in self.choices():
            choice.draw()
        self.settle()
        try:
            return super().trace(*inputs)
        finally:
            self.unsettle()

    def settle(self) -> None:
        """Give every quantizer the thetas of this step."""
        self.keep = self.keep_channels()
        for key, layer in self.layers.items():
            if isinstance(layer, MixedLayer):
                layer.now = self._weight_theta(key, layer)
        for quantizer in self.quantizers.values():
            if isinstance(quantizer, MixedActivation | MixedInput):
                quantizer.now = quantizer.choice.theta()

    def unsettle(self) -> None:
        """Forget them."""
        self.keep = None
        for module in (*self.layers.values(), *self.quantizers.values()):
            if isinstance(module, MixedLayer | MixedActivation | MixedInput):
                module.now = None

    def keep_channels(self) -> Keep | None:
        """Which channels are kept; ``None`` where none is searched for."""
        if self.pruning is None:
            return None
        layers = [cast(MixedLayer, self.layers[key]) for key in self.pruning.layers]
        keep: Keep = self.pruning(
            {key: layer.choice.logits() for key, layer in zip(self.pruning.layers, layers, strict=True)}
        )
        if all(layer.choice.soft for layer in layers):
            return keep
        return Keep(keep.straight_through(), keep.alive)

    def _weight_theta(self, key: str, layer: MixedLayer) -> WeightTheta:
        if not layer.prunes:
            theta = layer.choice.theta()
            return WeightTheta(theta if theta.dim() == 2 else theta.unsqueeze(1))
        assert self.keep is not None
        assert self.pruning is not None
        rows = probabilities(layer.choice.logits()[1:], soft=layer.choice.soft)
        own = self.pruning.components(key)
        return WeightTheta(rows, self.keep.straight_through()[own], self.keep.probability[own])

    def _rounds_bias(self, node: Node) -> bool:
        return not self._mixing(node.inputs[0], node.name, self.layers[self.layer_of[node.name]])

    def _rounded(self, node: Node, x: Tensor, divisor: int, source: str | None = None) -> Tensor:
        if self._mixing(source or node.inputs[0], node.name):
            return x
        return super()._rounded(node, x, divisor, source)

    def _mixing(self, source: str, target: str, layer: nn.Module | None = None) -> bool:
        """Whether any step that the rounding of a constant depends on is a mixture at present."""
        parts = (self.quantizer(source), self.quantizer(target), layer)
        return any(isinstance(p, MixedLayer | MixedActivation | MixedInput) and p.choice.soft for p in parts)

    def _set_clips(self, method: Method) -> None:
        for name, quantizer in self.quantizers.items():
            if isinstance(quantizer, MixedActivation):
                values = self._observers[name].values()
                quantizer.set_clips([choose_clip(grid, values, method) for grid in quantizer.grids])
        super()._set_clips(method)

    def _raise_steps(self) -> None:
        for node in self.nodes:
            if node.name not in self.layer_of or self.layer_of[node.name] in self.norms:
                continue
            layer, source = cast(QuantLayer | MixedLayer, self.layers[self.layer_of[node.name]]), self._input_of(node)
            floor = layer.bias.detach().abs() / (_least_scale(source) * 2.0**BIAS_BITS)
            (layer if isinstance(layer, MixedLayer) else layer.weight_quantizer).raise_steps(floor)

    def _input_of(self, node: Node) -> nn.Module:
        return self.quantizers[self.quantizer_of[node.inputs[0]]]

    def correct_biases(self, batch: Any) -> QuantNetwork:
        """See `QuantNetwork.correct_biases`; of the network of the likeliest precisions."""
        with self.decided():
            return super().correct_biases(batch)

    def restore_norms(self, batch: Any) -> QuantNetwork:
        """See `QuantNetwork.restore_norms`; statistics are those of the likeliest precisions."""
        with self.decided():
            return super().restore_norms(batch)

    @contextmanager
    def decided(self) -> Iterator[None]:
        """In eval mode, with the likeliest precisions everywhere."""
        training = self.training
        self.eval()
        self.settle()
        try:
            yield
        finally:
            self.unsettle()
            self.train(training)

    # ------------------------------------------------------------------------------------------ results

    def chosen(self) -> QuantConfig:
        """The likeliest precisions as a configuration, by module path."""
        layers: dict[str, LayerConfig] = {}
        inputs = 8
        with self.decided():
            for node in self.nodes:
                quantizer = self.quantizer(node.name)
                if isinstance(node.operator, Input):
                    inputs = quantizer.bits
                elif self.states_width(node):
                    layers[node.path] = LayerConfig(self._chosen_bits(node), quantizer.bits)
        return dataclasses.replace(self.config, input_bits=inputs, layers=layers)

    def _chosen_bits(self, node: Node) -> tuple[int, ...] | None:
        if node.name not in self.layer_of:
            return None
        layer = self.layers[self.layer_of[node.name]]
        return layer.bits() if isinstance(layer, MixedLayer) else cast(QuantLayer, layer).weight_quantizer.bits

    def discrete(self) -> QuantNetwork:
        """The network of the likeliest precisions, with all parameters carried over; shares nothing with this one."""
        config = self.chosen()
        parameters: dict[str, Parameters] = {}
        for node in self.nodes:
            if isinstance(node.operator, Conv | Linear):
                key = self.layer_of[node.name]
                layer = cast(QuantLayer | MixedLayer, self.layers[key])
                held = Parameters(layer.weight.detach().cpu(), layer.bias.detach().cpu(), self.folded.get(key))
                parameters[node.operator.parameters] = held
        found = QuantNetwork(dataclasses.replace(self.graph, parameters=parameters), config)
        found.to(self.calibrated.device)
        with self.decided(), torch.no_grad():
            self._copy_steps(found)
        return found.train(self.training)

    def _copy_steps(self, found: QuantNetwork) -> None:
        for node in self.nodes:
            own, other = self.quantizers[self.quantizer_of[node.name]], found.quantizer(node.name)
            if isinstance(other, ActivationQuantizer):
                source = own.log_clip[own.index] if isinstance(own, MixedActivation) else own.get_parameter("log_clip")
                other.log_clip.copy_(source)
                other.log_clip.requires_grad_(own.get_parameter("log_clip").requires_grad)
            if node.name in self.layer_of:
                layer, to = self.layers[self.layer_of[node.name]], found.layer(node.name)
                if isinstance(layer, MixedLayer):
                    to.weight_quantizer.log_step.copy_(layer.chosen_log_step())
                else:
                    to.weight_quantizer.log_step.copy_(cast(QuantLayer, layer).weight_quantizer.log_step)
                if (key := self.layer_of[node.name]) in self.norms:
                    found.norms[found.layer_of[node.name]] = copy.deepcopy(self.norms[key])
        found.calibrated.copy_(self.calibrated)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the thetas of a step."""
        self.unsettle()
        return self.__dict__.copy()


def _least_scale(quantizer: nn.Module) -> Tensor:
    scales = quantizer.scales if isinstance(quantizer, MixedActivation) else cast(Tensor, quantizer.scale)
    return scales.detach().min()


__all__ = ["MixedNetwork", "Widths"]
