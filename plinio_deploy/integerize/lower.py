# SPDX-License-Identifier: Apache-2.0
"""Lowering: every node of the fake-quantized network becomes the op that computes the same codes in integers.

Reshapes and permutations vanish: `plinio_deploy.quantization.layout` has made sure that no element has to move, so a
reshape op (which copies nothing) appears only where the next op needs another shape.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from plinio_deploy import fixedpoint, network
from plinio_deploy.errors import UnsupportedModel
from plinio_deploy.integerize.requant import RequantParameters, requant_parameters
from plinio_deploy.network import AddRescale, Hi32, Network, Op, Tensor, Weights
from plinio_deploy.quantization import graph
from plinio_deploy.quantization.graph import Node
from plinio_deploy.quantization.layout import Shape, standard_shape
from plinio_deploy.quantization.network import QuantNetwork
from plinio_deploy.quantization.quantizers import Quantizer, clamp_codes
from plinio_deploy.verify import verify


def integerize(qnet: QuantNetwork, name: str = "network") -> Network:
    """The integer network that computes what a calibrated (and usually trained) network does.

    Args:
        qnet: a calibrated network; it is not changed.
        name: of the integer network, a C identifier.

    Returns:
        A verified network of flavour ``hi32``. Its tensors and ops go by the names of ``qnet``'s nodes.

    Raises:
        UnsupportedModel: a layer whose numbers do not fit 32 bits; names it.
        UsageError: ``qnet`` is not calibrated.
    """
    return _Lowering(qnet).run(name)


class _Lowering:
    """One walk over the nodes; `_tensor_of` says which tensor holds a node's result."""

    def __init__(self, qnet: QuantNetwork) -> None:
        qnet.require_calibrated()
        self._qnet = qnet
        self._nodes = {node.name: node for node in qnet.nodes}
        self._tensors: dict[str, Tensor] = {}
        self._ops: list[Op] = []
        self._tensor_of: dict[str, str] = {}
        self._reshaped: dict[tuple[str, Shape], str] = {}

    def run(self, name: str) -> Network:
        for node in self._qnet.nodes:
            _LOWERERS[type(node.operator)](self, node)
        inputs = tuple(self._tensor_of[node] for node in self._qnet.inputs)
        outputs = [self._shaped(node, standard_shape(self._nodes[node].shape)) for node in self._qnet.outputs]
        for position, tensor in enumerate(outputs):
            if tensor in inputs or tensor in outputs[:position]:
                node = self._nodes[self._qnet.outputs[position]]
                raise UnsupportedModel(
                    "an output of the model is one of its inputs, or is returned twice",
                    where=str(node.where),
                    got=f"output {position}",
                    expected="outputs that are computed, each once",
                )
        return verify(Network(name, "hi32", inputs, tuple(outputs), self._tensors, tuple(self._ops)))

    # Tensors

    def _unique(self, wanted: str) -> str:
        name, number = wanted, 1
        while name in self._tensors or (name in self._nodes and name != wanted):
            number += 1
            name = f"{wanted}_{number}"
        return name

    def _declare(self, name: str, shape: Shape, quantizer: Quantizer) -> str:
        scale = float(quantizer.scale.detach())
        self._tensors[name] = Tensor(name, shape, quantizer.bits, quantizer.signed, scale, quantizer.zero_point)
        return name

    def _result(self, node: Node) -> str:
        """Declare the tensor of a node's result."""
        self._tensor_of[node.name] = node.name
        return self._declare(node.name, self._qnet.places[node.name].shape, self._qnet.quantizer(node.name))

    def _shaped(self, node: str, shape: Shape) -> str:
        """The tensor of a node's result under the shape that its reader needs."""
        tensor = self._tensor_of[node]
        return self._reshape(tensor, shape)

    def _reshape(self, tensor: str, shape: Shape) -> str:
        source = self._tensors[tensor]
        if source.shape == shape:
            return tensor
        key = (tensor, shape)
        if key not in self._reshaped:
            name = self._unique(f"{tensor}_{'flat' if len(shape) == 1 else 'map'}")
            self._tensors[name] = Tensor(name, shape, source.bits, source.signed, source.scale, source.zero_point)
            self._ops.append(network.Reshape(name, tensor, name))
            self._reshaped[key] = name
        return self._reshaped[key]

    def _operand(self, node: Node, index: int = 0) -> str:
        return self._shaped(node.inputs[index], self._qnet.places[node.name].input_shapes[index])

    def _scale(self, tensor: str) -> float:
        return self._tensors[tensor].scale

    # Ops

    def input(self, node: Node) -> None:
        self._result(node)

    def alias(self, node: Node) -> None:
        self._tensor_of[node.name] = self._tensor_of[node.inputs[0]]

    def conv(self, node: Node) -> None:
        operator = node.operator
        assert isinstance(operator, graph.Conv)
        source, out = self._operand(node), self._result(node)
        codes = self._codes(node).transpose(0, 2, 3, 1)
        bias, requant = self._dot_product(node, codes, source, out)
        self._ops.append(
            network.Conv(
                node.name,
                source,
                out,
                Weights(np.ascontiguousarray(codes), self._weight_bits(node)),
                bias,
                requant,
                operator.stride,
                operator.padding,
                operator.dilation,
                operator.groups,
            )
        )

    def linear(self, node: Node) -> None:
        source, out = self._operand(node), self._result(node)
        codes = self._codes(node)
        if len(self._tensors[source].shape) == 1:
            # The vector lies in memory in its own order (a flattened map: channels last); so do the columns.
            codes = codes[:, self._qnet.places[node.inputs[0]].order]
            bias, requant = self._dot_product(node, codes, source, out)
            weights = Weights(np.ascontiguousarray(codes), self._weight_bits(node))
            self._ops.append(network.Linear(node.name, source, out, weights, bias, requant))
            return
        codes = np.ascontiguousarray(codes[:, np.newaxis, np.newaxis, :])
        bias, requant = self._dot_product(node, codes, source, out)
        self._ops.append(network.Conv(node.name, source, out, Weights(codes, self._weight_bits(node)), bias, requant))

    def add(self, node: Node) -> None:
        first, second = self._operand(node, 0), self._operand(node, 1)
        a, b, out = self._tensors[first], self._tensors[second], self._tensors[self._result(node)]
        ranges = ((a.qmin, a.qmax), (b.qmin, b.qmax))
        try:
            chosen = fixedpoint.choose_add(
                (a.scale, b.scale), (a.zero_point, b.zero_point), ranges, out.scale, out.zero_point
            )
        except OverflowError as error:
            raise self._too_large(node, error) from error
        rescale = AddRescale(chosen.multipliers, chosen.shift, chosen.offset, self._clamp(node))
        self._ops.append(network.Add(node.name, (first, second), out.name, rescale))

    def concat(self, node: Node) -> None:
        place = self._qnet.places[node.name]
        quantizer = self._qnet.quantizer(node.name)
        names = []
        for index, source in enumerate(node.inputs):
            tensor = self._tensor_of[source]
            if self._qnet.quantizer_of[source] != self._qnet.quantizer_of[node.name]:
                rescaled = self._unique(f"{node.name}_in{index}")
                self._declare(rescaled, self._tensors[tensor].shape, quantizer)
                self._requantize(node, rescaled, tensor, clamp_codes(quantizer, -np.inf, np.inf))
                tensor = rescaled
            names.append(self._reshape(tensor, place.input_shapes[index]))
        self._ops.append(network.Concat(node.name, tuple(names), self._result(node), place.axis))

    def avg_pool(self, node: Node) -> None:
        operator = node.operator
        assert isinstance(operator, graph.AvgPool)
        self._average(node, operator.kernel, operator.stride, operator.padding, operator.divisor)

    def mean(self, node: Node) -> None:
        window = self._qnet.places[node.name].window
        self._average(node, window, window, (0, 0, 0, 0), window[0] * window[1])

    def max_pool(self, node: Node) -> None:
        operator = node.operator
        assert isinstance(operator, graph.MaxPool)
        source, out = self._operand(node), self._result(node)
        self._ops.append(
            network.MaxPool(
                node.name, source, out, operator.kernel, operator.stride, operator.padding, operator.dilation
            )
        )

    def pad(self, node: Node) -> None:
        operator = node.operator
        assert isinstance(operator, graph.Pad)
        source, out = self._operand(node), self._result(node)
        self._ops.append(network.Pad(node.name, source, out, operator.padding))

    def clamp(self, node: Node) -> None:
        source = self._operand(node)
        self._requantize(node, self._result(node), source, self._clamp(node))

    # Parts

    def _clamp(self, node: Node) -> tuple[int, int]:
        bounds = node.saturation
        return clamp_codes(self._qnet.quantizer(node.name), bounds.low, bounds.high)

    def _codes(self, node: Node) -> npt.NDArray[np.int8]:
        layer = self._qnet.layer(node.name)
        codes: npt.NDArray[np.int8] = layer.weight_quantizer.codes(layer.weight).cpu().numpy()
        return codes

    def _weight_bits(self, node: Node) -> tuple[int, ...]:
        return self._qnet.layer(node.name).weight_quantizer.bits

    def _dot_product(
        self, node: Node, codes: npt.NDArray[np.int8], source: str, out: str
    ) -> tuple[network.Int32Array, Hi32]:
        """Bias and requantization of a layer with weights."""
        layer = self._qnet.layer(node.name)
        read = self._tensors[source]
        unit = read.scale * layer.weight_quantizer.scale.detach().double().cpu().numpy()
        bias = layer.bias.detach().double().cpu().numpy() / unit
        weight_sum = codes.reshape(codes.shape[0], -1).astype(np.int64).sum(axis=1)
        none = np.zeros(codes.shape[0], dtype=np.int64)
        low, high = fixedpoint.accumulator_range(codes, none, (read.qmin, read.qmax))
        peak = int(max(-low.min(), high.max()))
        found = self._requant(node, unit / self._scale(out), bias, -read.zero_point * weight_sum, peak)
        return found.bias, Hi32(found.multiplier, found.shift, self._clamp(node))

    def _average(
        self, node: Node, kernel: tuple[int, int], stride: tuple[int, int], padding: network.Padding, divisor: int
    ) -> None:
        source, out = self._operand(node), self._result(node)
        read = self._tensors[source]
        count = kernel[0] * kernel[1]
        scale = np.array([read.scale / (divisor * self._scale(out))])
        peak = count * max(-read.qmin, read.qmax)
        found = self._requant(node, scale, np.zeros(1), np.array([-read.zero_point * count]), peak)
        requant = Hi32(found.multiplier, found.shift, self._clamp(node))
        self._ops.append(network.AvgPool(node.name, source, out, kernel, int(found.bias[0]), requant, stride, padding))

    def _requantize(self, node: Node, out: str, source: str, clamp: tuple[int, int]) -> None:
        read = self._tensors[source]
        scale = np.array([read.scale / self._scale(out)])
        found = self._requant(node, scale, np.zeros(1), np.array([-read.zero_point]), max(-read.qmin, read.qmax))
        requant = Hi32(found.multiplier, found.shift, clamp)
        self._ops.append(network.Requantize(out, source, out, int(found.bias[0]), requant))

    def _requant(
        self,
        node: Node,
        scale: npt.NDArray[np.float64],
        bias: npt.NDArray[np.float64],
        correction: npt.NDArray[np.int64],
        peak: int,
    ) -> RequantParameters:
        try:
            return requant_parameters(scale, bias, correction, peak)
        except OverflowError as error:
            raise self._too_large(node, error) from error

    def _too_large(self, node: Node, error: OverflowError) -> UnsupportedModel:
        return UnsupportedModel(
            "a layer's numbers do not fit 32 bits",
            where=str(node.where),
            got=str(error),
            expected="sums, biases and multipliers within int32",
            hints=(
                "Calibrate with batches that look like the real input.",
                "Look for channels whose weights are all almost zero but whose bias is large.",
            ),
        )


_LOWERERS: dict[type, Callable[[_Lowering, Node], None]] = {
    graph.Input: _Lowering.input,
    graph.Conv: _Lowering.conv,
    graph.Linear: _Lowering.linear,
    graph.Add: _Lowering.add,
    graph.Concat: _Lowering.concat,
    graph.AvgPool: _Lowering.avg_pool,
    graph.Mean: _Lowering.mean,
    graph.MaxPool: _Lowering.max_pool,
    graph.Pad: _Lowering.pad,
    graph.Clamp: _Lowering.clamp,
    graph.Reshape: _Lowering.alias,
    graph.Permute: _Lowering.alias,
}
