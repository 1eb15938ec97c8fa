# SPDX-License-Identifier: Apache-2.0
"""The fake-quantized network: computes in float what the integer network will compute, and can be trained."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from plinio_deploy.errors import UsageError
from plinio_deploy.quantization.calibrate import Method, Observer, choose_clip
from plinio_deploy.quantization.capture import capture
from plinio_deploy.quantization.channels import tied_channels
from plinio_deploy.quantization.config import QuantConfig
from plinio_deploy.quantization.correct import correct_biases
from plinio_deploy.quantization.graph import (
    Add,
    AvgPool,
    Clamp,
    Concat,
    Conv,
    Graph,
    Input,
    Linear,
    MaxPool,
    Mean,
    Node,
    Pad,
    Permute,
    PostProcess,
    Reshape,
)
from plinio_deploy.quantization.layers import QuantLayer, apply_layer, exact_layer, pad, window_max, window_sum
from plinio_deploy.quantization.layout import Place, places
from plinio_deploy.quantization.norms import ChannelNorm, fold_norms, per_channel, restore_norms
from plinio_deploy.quantization.parts import Mode, make_layers, make_quantizers
from plinio_deploy.quantization.quantizers import ActivationQuantizer, Quantizer
from plinio_deploy.quantization.rounding import representable_bias
from plinio_deploy.quantization.simplify import check_finite, simplify

BIAS_BITS = 24
"""Calibration keeps every bias below this many bits of the accumulator, so that sums have room beside it."""


def quantize(
    model: nn.Module, example_input: Tensor | Sequence[Tensor], config: QuantConfig | None = None
) -> QuantNetwork:
    """Make the fake-quantized twin of a model; the model itself is not touched.

    Args:
        model: a float model; it is captured in eval mode.
        example_input: one tensor or one per argument, ``(N, ...)``; only shapes matter.
        config: bit widths and input range.

    Returns:
        A network that still has to be calibrated.

    Raises:
        UnsupportedModel: an operator has no integer form; names the layer and the source line.
        UsageError: the configuration names no layer, or an unknown width.
    """
    return QuantNetwork(capture(model, example_input), config or QuantConfig())


class QuantNetwork(nn.Module):
    """A captured model with fake-quantizers; batch norms are folded, activations fused.

    Takes and returns what the model does, the softmax or sigmoid at its end included. Its parameters are the layers'
    weights and biases, the steps of the weights and the clips of the activations.

    Attributes:
        nodes: what is computed, in order.
        inputs, outputs: names of nodes.
        postprocess: what is left to the host at the end.
        places: where results lie in memory, by node.
        channels: output channels that are tied, and which may have 0 bits.
        layers: layers with weights; `layer_of` says which node uses which.
        folded: factors of the batch norms that were folded into them, by layer.
        norms: batch norms that `restore_norms` has put behind layers, by layer.
        quantizers: activation quantizers; `quantizer_of` says which node's result goes through which.
        mode: ``quantized``, ``float`` (no quantizer acts) or ``observe`` (as float, during calibration).
    """

    calibrated: Tensor

    def __init__(self, graph: Graph, config: QuantConfig) -> None:
        super().__init__()
        graph = simplify(graph)
        check_finite(graph)
        config.check(graph)
        self.config = config
        self.nodes = graph.nodes
        self.inputs, self.outputs = graph.inputs, graph.outputs
        self.postprocess, self.single_output = graph.postprocess, graph.single_output
        self.places: dict[str, Place] = places(graph)
        self.channels = tied_channels(graph, self.places)
        self.mode: Mode = "quantized"
        self.layers, self.layer_of, self.folded = make_layers(graph, config, self.channels)
        self.norms = nn.ModuleDict()
        self.quantizers, self.quantizer_of = make_quantizers(graph, config)
        self.register_buffer("calibrated", torch.tensor(False))
        self._observers: dict[str, Observer] = {}

    def forward(self, *inputs: Tensor) -> Any:
        """What the model returns: a tensor, or a tuple of them."""
        values = self.trace(*inputs)
        outputs = [values[name] for name in self.outputs]
        for post in self.postprocess:
            outputs[post.output] = apply_postprocess(post, outputs[post.output])
        return outputs[0] if self.single_output else tuple(outputs)

    def trace(self, *inputs: Tensor) -> dict[str, Tensor]:
        """The result of every node by name, ``(N, *shape)`` real numbers in torch's order.

        Raises:
            UsageError: the network is not calibrated, or the number of inputs is wrong.
        """
        if self.mode == "quantized":
            self.require_calibrated()
        self._check_count(inputs)
        values: dict[str, Tensor] = {}
        for node in self.nodes:
            operands = [values[name] for name in node.inputs]
            values[node.name] = self.evaluate(node, operands, inputs)
        return values

    def evaluate(self, node: Node, operands: Sequence[Tensor], inputs: Sequence[Tensor] = ()) -> Tensor:
        """The result of one node from those of its inputs."""
        operator = node.operator
        if isinstance(operator, Input):
            return self._finish(node, inputs[operator.index])
        if isinstance(operator, Conv | Linear):
            return self._finish(node, self._layer(node, operator, operands[0])).to(operands[0].dtype)
        if isinstance(operator, Concat):
            return torch.cat(
                [self._join(node, name, x) for name, x in zip(node.inputs, operands, strict=True)], operator.dim
            )
        if isinstance(operator, Add):
            return self._finish(node, operands[0] + operands[1])
        if isinstance(operator, AvgPool):
            return self._finish(node, self._rounded(node, window_sum(operator, operands[0]), operator.divisor))
        if isinstance(operator, Mean):
            mean = operands[0].mean(operator.dims, keepdim=operator.keepdim)
            return self._finish(node, self._rounded(node, mean, operands[0].numel() // mean.numel()))
        if isinstance(operator, Clamp):
            return self._finish(node, self._rounded(node, operands[0], 1))
        return _MOVES[type(operator)](node, operands[0])

    def calibrate(
        self, batches: Iterable[Any], *, method: Method = "mse", max_batches: int | None = None
    ) -> QuantNetwork:
        """Choose all clips from what a few batches bring about in float.

        Args:
            batches: tensors, or tuples or lists that start with one (as loaders give them). A network of several inputs
                takes tuples whose first element is a tuple of them.
            method: see `calibrate.choose_clip`.
            max_batches: stop after so many.

        Returns:
            The network itself.

        Raises:
            UsageError: there was no batch, or the number of inputs is wrong.
        """
        self._observers = {name: Observer() for name in self.quantizers}
        training, mode = self.training, self.mode
        self.eval()
        self.mode = "observe"
        seen = 0
        try:
            with torch.no_grad():
                for batch in batches:
                    self.trace(*self.inputs_of(batch))
                    seen += 1
                    if seen == max_batches:
                        break
        finally:
            self.mode = mode
            self.train(training)
        if seen == 0:
            raise UsageError("nothing to calibrate with", got="no batch", expected="at least one")
        self._set_clips(method)
        self._observers = {}
        return self

    def correct_biases(self, batch: Any) -> QuantNetwork:
        """Move the means of all layers back to where they are in float; see `correct`.

        With norms back, which are trained with quantizers in, renew their statistics instead.

        Args:
            batch: as those of `calibrate`; a few hundred samples.

        Returns:
            The network itself.

        Raises:
            UsageError: the network is not calibrated, or the number of inputs is wrong.
        """
        self.require_calibrated()
        correct_biases(self, self.inputs_of(batch))
        return self

    def restore_norms(self, batch: Any) -> QuantNetwork:
        """Put the batch norms back that were folded, for training; see `plinio_deploy.quantization.norms`.

        They bring parameters and buffers of their own: call it before an optimizer is made, and before a state with
        norms is loaded. A network without batch norms, or one that has them back already, stays as it is.

        Args:
            batch: as those of `calibrate`; a few hundred samples, whose statistics the norms start from.

        Returns:
            The network itself.

        Raises:
            UsageError: the network is not calibrated, or the number of inputs is wrong.
        """
        self.require_calibrated()
        training = self.training
        self.eval()
        try:
            restore_norms(self, self.inputs_of(batch))
        finally:
            self.train(training)
        return self

    def fold_norms(self) -> QuantNetwork:
        """Fold them again, after training; nothing happens if there are none. `integerize` does that on a copy.

        Returns:
            The network itself.
        """
        fold_norms(self)
        self._raise_steps()
        return self

    def without_norms(self) -> QuantNetwork:
        """The network itself if it has no norms, else a copy with all of them folded."""
        return copy.deepcopy(self).fold_norms() if self.norms else self

    def require_calibrated(self) -> None:
        """Refuse to go on before `calibrate`.

        Raises:
            UsageError: it was not called, nor was the state of a calibrated network loaded.
        """
        if not bool(self.calibrated):
            raise UsageError(
                "the network is not calibrated", hints=("Call calibrate() with a few batches of real inputs first.",)
            )

    def quantizer(self, name: str) -> Quantizer:
        """The quantizer that a node's result goes through."""
        return cast(Quantizer, self.quantizers[self.quantizer_of[name]])

    def layer(self, name: str) -> QuantLayer:
        """The weights that a conv or linear node uses."""
        return cast(QuantLayer, self.layers[self.layer_of[name]])

    def inputs_of(self, batch: Any) -> list[Tensor]:
        """The network's inputs out of what a loader gives (see `calibrate`), where the parameters are.

        Raises:
            UsageError: the number of inputs is wrong.
        """
        first = batch[0] if isinstance(batch, tuple | list) else batch
        device = next(self.parameters()).device
        found = [tensor.to(device) for tensor in ((first,) if isinstance(first, Tensor) else first)]
        self._check_count(found)
        return found

    def _check_count(self, inputs: Sequence[Tensor]) -> None:
        if len(inputs) != len(self.inputs):
            raise UsageError("wrong number of inputs", got=len(inputs), expected=len(self.inputs))

    def _set_clips(self, method: Method) -> None:
        for name, quantizer in self.quantizers.items():
            if isinstance(quantizer, ActivationQuantizer):
                quantizer.set_clip(choose_clip(quantizer, self._observers[name].values(), method))
        self._raise_steps()
        self.calibrated.fill_(True)

    def _raise_steps(self) -> None:
        """Keep biases of tiny weights within the accumulator; where a norm follows, that waits until it is folded."""
        for node in self.nodes:
            if node.name in self.layer_of and self.layer_of[node.name] not in self.norms:
                layer = self.layer(node.name)
                step = self.quantizer(node.inputs[0]).scale.detach()
                layer.weight_quantizer.raise_steps(layer.real_bias().detach().abs() / (step * 2.0**BIAS_BITS))

    def _finish(self, node: Node, x: Tensor) -> Tensor:
        """Saturation and quantization of a node's result."""
        bounds = node.saturation
        if self.mode == "quantized":
            result: Tensor = self.quantizer(node.name)(x, bounds.low, bounds.high)
            return result
        clamped = x if bounds == Clamp(-torch.inf, torch.inf) else torch.clamp(x, bounds.low, bounds.high)
        if self.mode == "observe":
            self._observers[self.quantizer_of[node.name]].see(clamped)
        return clamped

    def _layer(self, node: Node, operator: Conv | Linear, x: Tensor) -> Tensor:
        key = self.layer_of[node.name]
        layer, norm = self.layer(node.name), cast(ChannelNorm, self.norms[key]) if key in self.norms else None
        mask = layer.mask()
        if norm is not None and self.training and self.mode == "quantized":
            normalized: Tensor = norm(apply_layer(operator, x, layer.free_weight(), None))
            return normalized if mask is None else normalized * per_channel(mask, normalized, 1)
        weight = layer.quantized_weight() if self.mode == "quantized" else layer.real_weight()
        bias, factor = layer.real_bias(), None
        if norm is not None:
            factor, constant = norm.folded()
            weight = weight * per_channel(factor, weight)
            bias = constant if mask is None else constant * mask
        if self.mode == "quantized" and self._rounds_bias(node):
            unit = self._step(node.inputs[0])
            own, target = layer.steps(factor).detach().double(), self.quantizer(node.name)
            if not (self.training or torch.is_grad_enabled()):
                return exact_layer(operator, x, weight, bias, (unit, own, self._step(node.name)))
            nudged, unit = target.signed and node.saturation.low < 0, unit * own
            rounded = representable_bias(bias, unit, unit / self._step(node.name), target.bits, nudged=nudged)
            bias = bias + (rounded - bias).detach()
        return apply_layer(operator, x, weight, bias)

    def _rounds_bias(self, node: Node) -> bool:  # noqa: ARG002 - for those that mix precisions
        """Whether the bias of a layer is on the grid that the integer network has."""
        return True

    def before_rounding(self, node: Node, x: Tensor) -> Tensor:
        """What a conv or linear node computes from ``x`` before saturation and rounding."""
        assert isinstance(node.operator, Conv | Linear)
        return self._layer(node, node.operator, x)

    def _rounded(self, node: Node, x: Tensor, divisor: int, source: str | None = None) -> Tensor:
        """Add what the integer network's rounding half differs from one half by."""
        if self.mode != "quantized":
            return x
        unit = self._step(source or node.inputs[0]) / divisor
        bits = self.quantizer(node.name).bits
        return x + representable_bias(x.new_zeros(()), unit, unit / self._step(node.name), bits)

    def _step(self, name: str) -> Tensor:
        """Step of a node's result, in the precision that `plinio_deploy.integerize` uses."""
        return self.quantizer(name).scale.detach().double()

    def _join(self, node: Node, source: str, x: Tensor) -> Tensor:
        """An input of a concat, on the concat's grid."""
        if self.quantizer_of[source] == self.quantizer_of[node.name]:
            return x
        if self.mode == "observe":
            self._observers[self.quantizer_of[node.name]].see(x)
        if self.mode != "quantized":
            return x
        result: Tensor = self.quantizer(node.name)(self._rounded(node, x, 1, source))
        return result


def apply_postprocess(post: PostProcess, x: Tensor) -> Tensor:
    """What the host does at the end."""
    if post.kind == "sigmoid":
        return torch.sigmoid(x)
    assert post.dim is not None
    if post.kind == "argmax":
        return torch.argmax(x, post.dim, keepdim=post.keepdim)
    return torch.softmax(x, post.dim) if post.kind == "softmax" else torch.log_softmax(x, post.dim)


def _max_pool(node: Node, x: Tensor) -> Tensor:
    assert isinstance(node.operator, MaxPool)
    return window_max(node.operator, x)


def _reshape(node: Node, x: Tensor) -> Tensor:
    return x.reshape(x.shape[0], *node.shape)


def _permute(node: Node, x: Tensor) -> Tensor:
    assert isinstance(node.operator, Permute)
    return x.permute(node.operator.dims)


def _pad(node: Node, x: Tensor) -> Tensor:
    assert isinstance(node.operator, Pad)
    if node.operator.spatial == 1:
        return pad(x.unsqueeze(2), node.operator.padding).squeeze(2)
    return pad(x, node.operator.padding)


_MOVES: dict[type, Callable[[Node, Tensor], Tensor]] = {
    MaxPool: _max_pool,
    Reshape: _reshape,
    Permute: _permute,
    Pad: _pad,
}
