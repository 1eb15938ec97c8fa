# SPDX-License-Identifier: Apache-2.0
"""Lowering: every node of the fake-quantized network becomes the op that computes the same codes in integers.

Reshapes and permutations vanish: `plinio_deploy.quantization.layout` has made sure that no element has to move, so a
reshape op (which copies nothing) appears only where the next op needs another shape. Channels of 0 bits vanish, and the
others are put in order, as `plinio_deploy.integerize.channels` decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from plinio_deploy import fixedpoint, network
from plinio_deploy.errors import UnsupportedModel
from plinio_deploy.integerize import channels
from plinio_deploy.integerize.channels import IntArray
from plinio_deploy.integerize.requant import RequantParameters, requant_parameters
from plinio_deploy.network import AddRescale, Hi32, Network, Op, Tensor, Weights
from plinio_deploy.quantization import graph
from plinio_deploy.quantization.capture import free_name
from plinio_deploy.quantization.graph import Node
from plinio_deploy.quantization.layout import Shape, standard_shape
from plinio_deploy.quantization.network import QuantNetwork
from plinio_deploy.quantization.quantizers import BIT_WIDTHS, Quantizer, clamp_codes
from plinio_deploy.verify import verify


@dataclass(frozen=True, eq=False)
class Lowered:
    """An integer network, and where its codes belong in the model.

    Attributes:
        network: verified, of flavour ``hi32``.
        elements: for each of its tensors, the positions of its codes in the tensor that has all of the model's channels
            in the model's order, flat and per sample.
    """

    network: Network
    elements: Mapping[str, IntArray]


def integerize(qnet: QuantNetwork, name: str = "network") -> Network:
    """The integer network that computes what a calibrated (and usually trained) network does.

    Args:
        qnet: a calibrated network; it is not changed.
        name: of the integer network, a C identifier.

    Returns:
        A verified network of flavour ``hi32``. Its tensors and ops go by the names of ``qnet``'s nodes. Channels of 0
        bits are gone, those of one width lie together where that is possible; inputs and outputs are the model's.

    Raises:
        UnsupportedModel: a layer whose numbers do not fit 32 bits; names it.
        UsageError: ``qnet`` is not calibrated.
    """
    return lower(qnet, name).network


def lower(qnet: QuantNetwork, name: str = "network", *, compact: bool = True) -> Lowered:
    """As `integerize`, and says where each code of each tensor belongs.

    Args:
        qnet: a calibrated network; it is not changed.
        name: of the integer network.
        compact: whether 0-bit channels vanish and channels are put in order. If not, every tensor has the model's
            channels in the model's order, and 0-bit ones are 2-bit ones that hold zeros: the same network, for
            comparisons.

    Raises:
        UnsupportedModel, UsageError: as `integerize`.
    """
    return _Lowering(qnet.without_norms(), compact=compact).run(name)


class _Lowering:
    """One walk over the nodes; `_tensor_of` says which tensor holds a node's result."""

    def __init__(self, qnet: QuantNetwork, *, compact: bool) -> None:
        qnet.require_calibrated()
        self._qnet = qnet
        self._nodes = {node.name: node for node in qnet.nodes}
        self._tensors: dict[str, Tensor] = {}
        self._ops: list[Op] = []
        self._tensor_of: dict[str, str] = {}
        self._reshaped: dict[tuple[str, Shape], str] = {}
        self._elements: dict[str, IntArray] = {}
        self._widths = {name: qnet.layer(name).weight_quantizer.bits for name in qnet.layer_of}
        self._gone = channels.removed(qnet.channels, self._widths)
        self._channels = self._chosen(compact=compact)

    def _chosen(self, *, compact: bool) -> dict[str, IntArray]:
        """The output channels of every layer."""
        widths = self._widths
        if not compact:
            return {name: np.arange(len(own), dtype=np.int64) for name, own in widths.items()}
        sizes = {name: self._qnet.layer(name).weight.numel() for name in widths}
        return channels.remaining_channels(self._qnet.channels, widths, sizes)

    def run(self, name: str) -> Lowered:
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
        made = verify(Network(name, "hi32", inputs, tuple(outputs), self._tensors, tuple(self._ops)))
        return Lowered(made, self._elements)

    # Tensors

    def _unique(self, wanted: str) -> str:
        return free_name(wanted, {*self._tensors, *(self._nodes.keys() - {wanted})})

    def _declare(self, name: str, shape: Shape, elements: IntArray, quantizer: Quantizer) -> str:
        """A tensor that would have ``shape`` in full, and of which ``elements`` are left."""
        left, scale = channels.left_over(elements, shape), float(quantizer.scale.detach())
        self._tensors[name] = Tensor(name, left, quantizer.bits, quantizer.signed, scale, quantizer.zero_point)
        self._elements[name] = elements
        return name

    def _result(self, node: Node, elements: IntArray) -> str:
        """Declare the tensor of a node's result."""
        self._tensor_of[node.name] = node.name
        return self._declare(node.name, self._qnet.places[node.name].shape, elements, self._qnet.quantizer(node.name))

    def _same_planes(self, node: Node, source: str) -> str:
        """Declare the result of an op that keeps channels apart."""
        kept = channels.planes(self._elements[source], self._qnet.places[node.name].input_shapes[0])
        return self._result(node, channels.spread(kept, self._qnet.places[node.name].shape))

    def _shaped(self, node: str, shape: Shape) -> str:
        """The tensor of a node's result under the shape that its reader needs, were it full."""
        return self._reshape(self._tensor_of[node], shape)

    def _reshape(self, tensor: str, full: Shape) -> str:
        source = self._tensors[tensor]
        shape = channels.left_over(self._elements[tensor], full)
        if source.shape == shape:
            return tensor
        key = (tensor, shape)
        if key not in self._reshaped:
            name = self._unique(f"{tensor}_{'flat' if len(shape) == 1 else 'map'}")
            self._tensors[name] = Tensor(name, shape, source.bits, source.signed, source.scale, source.zero_point)
            self._elements[name] = self._elements[tensor]
            self._ops.append(network.Reshape(name, tensor, name))
            self._reshaped[key] = name
        return self._reshaped[key]

    def _operand(self, node: Node, index: int = 0) -> str:
        return self._shaped(node.inputs[index], self._qnet.places[node.name].input_shapes[index])

    def _scale(self, tensor: str) -> float:
        return self._tensors[tensor].scale

    # Ops

    def input(self, node: Node) -> None:
        self._result(node, channels.whole(self._qnet.places[node.name].shape))

    def alias(self, node: Node) -> None:
        self._tensor_of[node.name] = self._tensor_of[node.inputs[0]]

    def conv(self, node: Node) -> None:
        operator = node.operator
        assert isinstance(operator, graph.Conv)
        source, made = self._operand(node), self._channels[node.name]
        out = self._result(node, channels.spread(made, self._qnet.places[node.name].shape))
        columns, groups = self._columns(node, source), operator.groups
        codes = self._codes(node).transpose(0, 2, 3, 1)
        if groups > 1:
            per_group = (codes.shape[3], codes.shape[0] // groups)
            columns, groups = channels.group_columns(columns, made, groups, per_group)
        codes = codes[made][..., columns]
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
                groups,
                self._accelerators(node),
            )
        )

    def linear(self, node: Node) -> None:
        source, made = self._operand(node), self._channels[node.name]
        out = self._result(node, channels.spread(made, self._qnet.places[node.name].shape))
        columns = self._columns(node, source)
        flat = len(self._tensors[source].shape) == 1
        if flat:
            # The vector lies in memory in its own order (a flattened map: channels last); so do the columns.
            columns = self._qnet.places[node.inputs[0]].order[columns]
        codes = np.ascontiguousarray(self._codes(node)[made][:, columns])
        if not flat:
            codes = codes[:, np.newaxis, np.newaxis, :]
        bias, requant = self._dot_product(node, codes, source, out)
        weights = Weights(codes, self._weight_bits(node))
        kind = network.Linear if flat else network.Conv
        self._ops.append(kind(node.name, source, out, weights, bias, requant, accelerators=self._accelerators(node)))

    def add(self, node: Node) -> None:
        first, second = self._operand(node, 0), self._operand(node, 1)
        kept = self._elements[first]
        assert np.array_equal(kept, self._elements[second]), "an add's inputs are tied"
        a, b, out = self._tensors[first], self._tensors[second], self._tensors[self._result(node, kept)]
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
        for index, (source, shape) in enumerate(zip(node.inputs, place.input_shapes, strict=True)):
            tensor = self._reshape(self._tensor_of[source], shape)
            if self._qnet.quantizer_of[source] != self._qnet.quantizer_of[node.name]:
                rescaled = self._unique(f"{node.name}_in{index}")
                self._declare(rescaled, shape, self._elements[tensor], quantizer)
                self._requantize(node, rescaled, tensor, clamp_codes(quantizer, -np.inf, np.inf))
                tensor = rescaled
            names.append(tensor)
        parts = [self._elements[name] for name in names]
        out = self._result(node, channels.joined(parts, place.input_shapes, place.shape, place.axis))
        self._ops.append(network.Concat(node.name, tuple(names), out, place.axis))

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
        source = self._operand(node)
        out = self._same_planes(node, source)
        self._ops.append(
            network.MaxPool(
                node.name, source, out, operator.kernel, operator.stride, operator.padding, operator.dilation
            )
        )

    def pad(self, node: Node) -> None:
        operator = node.operator
        assert isinstance(operator, graph.Pad)
        source = self._operand(node)
        out = self._same_planes(node, source)
        self._ops.append(network.Pad(node.name, source, out, operator.padding))

    def clamp(self, node: Node) -> None:
        source = self._operand(node)
        self._requantize(node, self._result(node, self._elements[source]), source, self._clamp(node))

    # Parts

    def _clamp(self, node: Node) -> tuple[int, int]:
        bounds = node.saturation
        return clamp_codes(self._qnet.quantizer(node.name), bounds.low, bounds.high)

    def _codes(self, node: Node) -> npt.NDArray[np.int8]:
        """All of a layer's weights, in torch's order."""
        layer = self._qnet.layer(node.name)
        codes: npt.NDArray[np.int8] = layer.weight_quantizer.codes(layer.real_weight()).cpu().numpy().copy()
        if codes.shape[1] > 1:  # in a depthwise layer the output is gone as well
            gone = np.isin(self._qnet.channels.inputs[node.name][: codes.shape[1]], self._gone)
            codes[:, gone] = 0  # they would multiply zeros
        return codes

    def _columns(self, node: Node, source: str) -> IntArray:
        """Input channels of a layer that are left; for a flat vector its elements."""
        return channels.planes(self._elements[source], self._qnet.places[node.name].input_shapes[0])

    def _weight_bits(self, node: Node) -> tuple[int, ...]:
        """Widths of what is left; a channel that only stands for one of 0 bits takes the least there is."""
        bits = self._widths[node.name]
        return tuple(bits[channel] or min(BIT_WIDTHS) for channel in self._channels[node.name].tolist())

    def _accelerators(self, node: Node) -> tuple[str, ...]:
        """Of what is left; empty without an assignment."""
        assigned = self._qnet.config.accelerators(node, len(self._widths[node.name]))
        return tuple(assigned[channel] for channel in self._channels[node.name].tolist()) if assigned else ()

    def _dot_product(
        self, node: Node, codes: npt.NDArray[np.int8], source: str, out: str
    ) -> tuple[network.Int32Array, Hi32]:
        """Bias and requantization of a layer with weights."""
        layer, made = self._qnet.layer(node.name), self._channels[node.name]
        read = self._tensors[source]
        unit = read.scale * layer.steps().detach().double().cpu().numpy()[made]
        bias = layer.real_bias().detach().double().cpu().numpy()[made] / unit
        weight_sum = codes.reshape(codes.shape[0], -1).astype(np.int64).sum(axis=1)
        none = np.zeros(codes.shape[0], dtype=np.int64)
        low, high = fixedpoint.accumulator_range(codes, none, (read.qmin, read.qmax))
        peak = int(max(-low.min(), high.max()))
        moved = read.qmin * weight_sum if layer.weight_quantizer.shared else None
        found = self._requant(node, unit / self._scale(out), bias, -read.zero_point * weight_sum, peak, moved)
        return found.bias, Hi32(found.multiplier, found.shift, self._clamp(node))

    def _average(
        self, node: Node, kernel: tuple[int, int], stride: tuple[int, int], padding: network.Padding, divisor: int
    ) -> None:
        source = self._operand(node)
        out = self._same_planes(node, source)
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
        moved: npt.NDArray[np.int64] | None = None,
    ) -> RequantParameters:
        try:
            return requant_parameters(scale, bias, correction, peak, moved)
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
