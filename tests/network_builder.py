# SPDX-License-Identifier: Apache-2.0
"""Builds integer networks for tests, op by op, so that every rule holds.

Weights are random, quantizers are chosen so that outputs use their range; no training is involved.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from plinio_deploy import fixedpoint
from plinio_deploy.network import (
    Add,
    AddRescale,
    AvgPool,
    Concat,
    Conv,
    Flavour,
    Hi32,
    Linear,
    MaxPool,
    Network,
    Op,
    Pad,
    Padding,
    Requant,
    Requantize,
    Reshape,
    Tensor,
    Tflite,
    TfliteAdd,
    Weights,
    op_inputs,
)
from plinio_deploy.verify import verify

Pair = tuple[int, int]
Quantizer = tuple[int, bool, float, int]
"""Bits, signed, scale, zero point."""


class Builder:
    """Builds a network op by op; tensors are handed around by name.

    Args:
        seed: of weights, biases and all that a caller leaves open.
        flavour: requantization of all ops.
        name: of the network.
    """

    def __init__(self, seed: int, flavour: Flavour = "hi32", name: str = "toy") -> None:
        self.rng = np.random.default_rng(seed)
        self.flavour: Flavour = flavour
        self.name = name
        self.tensors: dict[str, Tensor] = {}
        self.inputs: list[str] = []
        self.ops: list[Op] = []
        self.double_rounding = bool(self.rng.integers(2))

    def quantizer(self, bits: int = 8, signed: bool | None = None, zero: bool | None = None) -> Quantizer:
        """A quantizer; ``zero`` asks for the zero point 0, or for another one."""
        signed = bool(self.rng.integers(2)) if signed is None else signed
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
        zero = bool(self.rng.integers(2)) if zero is None else zero
        choices = [0] if zero else [code for code in range(low, high + 1) if code]
        return bits, signed, float(self.rng.uniform(0.01, 0.1)), int(self.rng.choice(choices))

    def tensor(self, shape: Sequence[int], quantizer: Quantizer) -> Tensor:
        """A new tensor."""
        tensor = Tensor(f"t{len(self.tensors)}", tuple(int(size) for size in shape), *quantizer)
        self.tensors[tensor.name] = tensor
        return tensor

    def input(self, shape: Sequence[int], quantizer: Quantizer | None = None) -> str:
        """A network input."""
        name = self.tensor(shape, quantizer or self.quantizer()).name
        self.inputs.append(name)
        return name

    def like(self, name: str) -> Quantizer:
        """The quantizer of a tensor."""
        tensor = self.tensors[name]
        return tensor.bits, tensor.signed, tensor.scale, tensor.zero_point

    def weights(self, shape: Sequence[int], bits: Sequence[int]) -> Weights:
        """Random weights that use their whole range; ``bits`` repeats as often as needed."""
        widths = tuple(int(bits[channel % len(bits)]) for channel in range(shape[0]))
        codes = np.zeros(tuple(shape), dtype=np.int8)
        for channel, width in enumerate(widths):
            codes[channel] = self.rng.integers(-(1 << (width - 1)), 1 << (width - 1), size=tuple(shape[1:]))
        return Weights(codes, widths)

    def clamp(self, out: Tensor, relu: bool) -> Pair:
        """Output range, cut at the zero point for a ReLU."""
        return (out.zero_point if relu else out.qmin), out.qmax

    def requant(self, scale: npt.NDArray[np.float64], peak: int, clamp: Pair) -> tuple[Requant, npt.NDArray[np.int64]]:
        """Requantization for real scales, and what it adds to a bias (in shifted units)."""
        if self.flavour == "hi32":
            found = fixedpoint.choose_hi32(scale, peak)
            return Hi32(found.multiplier, found.shift, clamp), np.asarray(found.half)
        multiplier, shift = fixedpoint.choose_tflite(scale)
        return Tflite(multiplier, shift, self.double_rounding, clamp), np.zeros(scale.shape, dtype=np.int64)

    def _weighted(
        self, source: Tensor, out: Tensor, weights: Weights, *, relu: bool, per_channel: bool, gain: float = 3.0
    ) -> tuple[npt.NDArray[np.int32], Requant]:
        """Bias and requantization that spread the outputs over the codes."""
        flat = weights.codes.reshape(weights.out_channels, -1).astype(np.int64)
        spread = np.sqrt((flat**2).sum(axis=1) + 1.0) * (source.qmax - source.qmin) / 4
        real_bias = np.rint(self.rng.normal(0, 0.5, weights.out_channels) * spread).astype(np.int64)
        bias = real_bias - source.zero_point * flat.sum(axis=1)
        scale = (out.qmax - out.qmin) / (2 * gain * spread) * self.rng.uniform(0.7, 1.4, weights.out_channels)
        if not per_channel:
            scale = scale[:1]
        low, high = fixedpoint.accumulator_range(weights.codes, np.zeros_like(bias), (source.qmin, source.qmax))
        peak = int(max(np.abs(low).max(), np.abs(high).max()) + np.abs(bias).max())
        requant, half = self.requant(scale, peak, self.clamp(out, relu))
        shift = requant.shift if isinstance(requant, Hi32) else 0
        return ((bias << shift) + half).astype(np.int32), requant

    def conv(
        self,
        source: str,
        channels: int,
        kernel: Pair = (3, 3),
        *,
        stride: Pair = (1, 1),
        padding: Padding = (0, 0, 0, 0),
        dilation: Pair = (1, 1),
        groups: int = 1,
        w_bits: Sequence[int] = (8,),
        out: Quantizer | None = None,
        relu: bool = False,
        per_channel: bool = True,
        gain: float = 3.0,
    ) -> str:
        """A convolution."""
        x = self.tensors[source]
        size = [
            (x.shape[i] + sum(padding[2 * i : 2 * i + 2]) - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1
            for i in range(2)
        ]
        y = self.tensor((*size, channels), out or self.quantizer())
        weights = self.weights((channels, *kernel, x.channels // groups), w_bits)
        bias, requant = self._weighted(x, y, weights, relu=relu, per_channel=per_channel, gain=gain)
        name = f"conv{len(self.ops)}"
        self.ops.append(Conv(name, source, y.name, weights, bias, requant, stride, padding, dilation, groups))
        return y.name

    def linear(
        self,
        source: str,
        channels: int,
        *,
        w_bits: Sequence[int] = (8,),
        out: Quantizer | None = None,
        relu: bool = False,
        per_channel: bool = True,
        gain: float = 3.0,
    ) -> str:
        """A matrix product."""
        x = self.tensors[source]
        y = self.tensor((channels,), out or self.quantizer())
        weights = self.weights((channels, x.channels), w_bits)
        bias, requant = self._weighted(x, y, weights, relu=relu, per_channel=per_channel, gain=gain)
        self.ops.append(Linear(f"linear{len(self.ops)}", source, y.name, weights, bias, requant))
        return y.name

    def add(self, first: str, second: str, out: Quantizer | None = None, *, relu: bool = False) -> str:
        """A sum of two tensors of one shape."""
        a, b = self.tensors[first], self.tensors[second]
        y = self.tensor(a.shape, out or self.quantizer())
        rescale: AddRescale | TfliteAdd
        if self.flavour == "hi32":
            found = fixedpoint.choose_add(
                (a.scale, b.scale),
                (a.zero_point, b.zero_point),
                ((a.qmin, a.qmax), (b.qmin, b.qmax)),
                y.scale,
                y.zero_point,
            )
            rescale = AddRescale(found.multipliers, found.shift, found.offset, self.clamp(y, relu))
        else:
            twice = 2 * max(a.scale, b.scale)
            scales = np.array([a.scale / twice, b.scale / twice, twice / ((1 << 20) * y.scale)])
            multiplier, shift = (values.tolist() for values in fixedpoint.choose_tflite(scales))
            rescale = TfliteAdd(20, tuple(multiplier), tuple(shift), self.double_rounding, self.clamp(y, relu))
        self.ops.append(Add(f"add{len(self.ops)}", (first, second), y.name, rescale))
        return y.name

    def concat(self, sources: Sequence[str], axis: int) -> str:
        """Tensors of one quantizer behind each other."""
        shape = list(self.tensors[sources[0]].shape)
        shape[axis] = sum(self.tensors[source].shape[axis] for source in sources)
        y = self.tensor(shape, self.like(sources[0]))
        self.ops.append(Concat(f"concat{len(self.ops)}", tuple(sources), y.name, axis))
        return y.name

    def _pooled(self, x: Tensor, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> list[int]:
        return [
            (x.shape[i] + sum(padding[2 * i : 2 * i + 2]) - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1
            for i in range(2)
        ]

    def avg_pool(
        self,
        source: str,
        kernel: Pair,
        stride: Pair = (1, 1),
        padding: Padding = (0, 0, 0, 0),
        out: Quantizer | None = None,
    ) -> str:
        """An average; the TensorFlow Lite flavour keeps its quantizer."""
        x = self.tensors[source]
        quantizer = out or self.quantizer()
        if self.flavour == "tflite":
            quantizer = self.like(source)
        y = self.tensor((*self._pooled(x, kernel, stride, padding, (1, 1)), x.channels), quantizer)
        count = kernel[0] * kernel[1]
        name, clamp, bias = f"avg{len(self.ops)}", self.clamp(y, relu=False), 0
        requant: Requant
        if self.flavour == "tflite":
            zero = np.zeros(1, dtype=np.int32)
            requant = Tflite(zero, zero, self.double_rounding, clamp)
        else:
            peak = count * (abs(x.zero_point) + max(abs(x.qmin), x.qmax))
            requant, half = self.requant(np.array([x.scale / y.scale / count]), peak, clamp)
            assert isinstance(requant, Hi32)
            bias = (-x.zero_point * count << requant.shift) + int(half[0])
        self.ops.append(AvgPool(name, source, y.name, kernel, bias, requant, stride, padding))
        return y.name

    def max_pool(
        self,
        source: str,
        kernel: Pair,
        stride: Pair = (1, 1),
        padding: Padding = (0, 0, 0, 0),
        dilation: Pair = (1, 1),
    ) -> str:
        """A maximum."""
        x = self.tensors[source]
        y = self.tensor((*self._pooled(x, kernel, stride, padding, dilation), x.channels), self.like(source))
        self.ops.append(MaxPool(f"max{len(self.ops)}", source, y.name, kernel, stride, padding, dilation))
        return y.name

    def reshape(self, source: str, shape: Sequence[int]) -> str:
        """The same codes in another shape."""
        y = self.tensor(shape, self.like(source))
        self.ops.append(Reshape(f"reshape{len(self.ops)}", source, y.name))
        return y.name

    def flatten(self, source: str) -> str:
        """The same codes in one row."""
        return self.reshape(source, (self.tensors[source].elements,))

    def requantize(self, source: str, out: Quantizer | None = None, *, relu: bool = False) -> str:
        """The same numbers in other codes."""
        x = self.tensors[source]
        y = self.tensor(x.shape, out or self.quantizer())
        peak = abs(x.zero_point) + max(abs(x.qmin), x.qmax)
        requant, half = self.requant(np.array([x.scale / y.scale]), peak, self.clamp(y, relu))
        shift = requant.shift if isinstance(requant, Hi32) else 0
        bias = (-x.zero_point << shift) + int(half[0])
        self.ops.append(Requantize(f"requantize{len(self.ops)}", source, y.name, bias, requant))
        return y.name

    def pad(self, source: str, padding: Padding) -> str:
        """The tensor with a margin of zero points."""
        x = self.tensors[source]
        shape = (x.shape[0] + padding[0] + padding[1], x.shape[1] + padding[2] + padding[3], x.channels)
        y = self.tensor(shape, self.like(source))
        self.ops.append(Pad(f"pad{len(self.ops)}", source, y.name, padding))
        return y.name

    def build(self, *outputs: str) -> Network:
        """The verified network; without names, every tensor that nobody reads is an output."""
        names = outputs
        if not names:
            read = {name for op in self.ops for name in op_inputs(op)}
            names = tuple(op.output for op in self.ops if op.output not in read)
        return verify(Network(self.name, self.flavour, tuple(self.inputs), names, dict(self.tensors), tuple(self.ops)))
