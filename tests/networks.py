# SPDX-License-Identifier: Apache-2.0
"""Integer networks for tests: a builder that keeps every rule, some fixed networks, and random ones with every op.

Weights are random, quantizers are chosen so that outputs use their range; no training is involved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from plinio_deploy import fixedpoint
from plinio_deploy.interpreter import run
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
from plinio_deploy.packing import pack
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
    ) -> str:
        """A matrix product."""
        x = self.tensors[source]
        y = self.tensor((channels,), out or self.quantizer())
        weights = self.weights((channels, x.channels), w_bits)
        bias, requant = self._weighted(x, y, weights, relu=relu, per_channel=per_channel)
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


def digits_cnn(flavour: Flavour = "hi32") -> Network:
    """A plain chain on 8 x 8 images: mixed widths, max pool, flatten, two linear layers."""
    b = Builder(1, flavour, "digits_cnn")
    x = b.input((8, 8, 1), (8, False, 1 / 16, 0))
    u8, u4 = (8, False, 0.02, 0), (4, False, 0.3, 0)
    x = b.conv(x, 8, padding=(1, 1, 1, 1), out=u8, relu=True)
    x = b.conv(x, 12, padding=(1, 1, 1, 1), w_bits=(8, 8, 8, 8, 4, 4, 4, 4, 2, 2, 2, 2), out=u4, relu=True)
    x = b.max_pool(x, (2, 2), (2, 2))
    x = b.conv(x, 16, padding=(1, 1, 1, 1), w_bits=(4,), out=u8, relu=True)
    x = b.linear(b.flatten(b.max_pool(x, (2, 2), (2, 2))), 20, w_bits=(2,), out=u8, relu=True)
    return b.build(b.linear(x, 10, out=(8, True, 0.1, 3)))


def residual(flavour: Flavour = "hi32") -> Network:
    """Residual add, depthwise, concat, global average pool; signed and unsigned codes with zero points."""
    b = Builder(2, flavour, "residual")
    q, s = (8, False, 0.03, 0), (8, True, 0.04, -7)
    x = b.conv(b.input((10, 10, 3), (8, True, 0.0078125, -1)), 8, padding=(1, 1, 1, 1), out=q, relu=True)
    y = b.conv(x, 8, padding=(1, 1, 1, 1), groups=8, out=s)
    y = b.conv(y, 8, (1, 1), w_bits=(4,), out=s)
    x = b.add(x, y, q, relu=True)
    left = b.conv(x, 6, stride=(2, 2), padding=(0, 1, 0, 1), out=s)
    right = b.conv(b.conv(x, 8, stride=(2, 2), padding=(0, 1, 0, 1), groups=8, out=s), 4, (1, 1), out=s)
    x = b.requantize(b.concat((left, right), 2), q, relu=True)
    x = b.avg_pool(x, (5, 5), out=(8, False, 0.02, 0))
    return b.build(b.linear(b.flatten(x), 10, out=(8, True, 0.1, 0)))


def tcn(flavour: Flavour = "hi32") -> Network:
    """1-D temporal convolutions: causal padding, dilation, a residual add."""
    b = Builder(3, flavour, "tcn")
    u8, u4 = (8, False, 0.03, 0), (4, False, 0.3, 0)
    x = b.input((1, 40, 6), (8, True, 0.05, 11))
    x = b.conv(x, 10, (1, 3), padding=(0, 0, 2, 0), out=u8, relu=True)
    y = b.conv(x, 10, (1, 3), padding=(0, 0, 4, 0), dilation=(1, 2), w_bits=(4,), out=u4, relu=True)
    y = b.conv(y, 10, (1, 3), padding=(0, 0, 8, 0), dilation=(1, 4), w_bits=(8, 2), out=u8, relu=True)
    x = b.add(x, y, u8, relu=True)
    x = b.avg_pool(b.max_pool(x, (1, 4), (1, 4)), (1, 10))
    return b.build(b.linear(b.flatten(x), 5))


def packed_rows(flavour: Flavour = "hi32") -> Network:
    """Sub-byte tensors whose rows end within a byte, through every op that has to care; two inputs, three outputs."""
    b = Builder(4, flavour, "packed_rows")
    u4, s2 = (4, False, 0.3, 5), (2, True, 0.5, -1)
    x, y = b.input((5, 4, 3), u4), b.input((5, 4, 5), u4)
    z = b.concat((x, y, x), 2)
    z = b.pad(z, (1, 0, 2, 1))
    z = b.max_pool(z, (2, 3), (2, 1), (1, 0, 0, 1))
    z = b.requantize(z, (4, True, 0.2, 2))
    z = b.add(z, z, (4, False, 0.4, 1))
    w = b.conv(z, 7, (2, 2), padding=(1, 1, 0, 2), w_bits=(2, 4, 8, 4, 2, 8, 2), out=s2)
    w = b.avg_pool(w, (2, 2), (2, 2), (1, 0, 0, 1), out=s2)
    v = b.flatten(w)
    u = b.reshape(z, (1, b.tensors[z].elements // 11, 11))
    return b.build(b.linear(v, 3, w_bits=(2, 4)), b.flatten(y), u)


NETWORKS: dict[str, Callable[[Flavour], Network]] = {
    "digits_cnn": digits_cnn,
    "residual": residual,
    "tcn": tcn,
    "packed_rows": packed_rows,
}
"""Fixed networks by name; each exists in both flavours."""


class _Random:
    """One random network: each method appends one op with random geometry."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.rng = rng
        self.b = Builder(seed, "hi32" if rng.random() < 0.6 else "tflite", f"random{seed}")
        self.flat = False

    def pick(self, *choices: int) -> int:
        return int(self.rng.choice(choices))

    def maybe(self, probability: float = 0.5) -> bool:
        return bool(self.rng.random() < probability)

    def quantizer(self) -> Quantizer:
        return self.b.quantizer(self.pick(2, 4, 8, 8))

    def w_bits(self) -> list[int]:
        kind = self.pick(0, 1, 2)
        if kind == 0:
            return [self.pick(2, 4, 8)]
        if kind == 1:
            return [8] * self.pick(1, 2, 5) + [4] * self.pick(1, 3) + [2] * self.pick(1, 2, 9)
        return [self.pick(2, 4, 8) for _ in range(16)]

    def source(self, axes: int) -> str | None:
        names = [name for name, tensor in self.b.tensors.items() if len(tensor.shape) == axes]
        return str(self.rng.choice(names[-3:])) if names else None

    def geometry(self, shape: tuple[int, ...]) -> tuple[Pair, Pair, Padding, Pair]:
        """Kernel, stride, padding, dilation of a window that fits; padding stays below the reach of the kernel."""
        kernel, stride, dilation, padding = [], [], [], []
        for size in shape[:2]:
            k, d = (self.pick(1, 2, 3, 3, 4), self.pick(1, 1, 1, 2)) if size > 1 or self.maybe(0.2) else (1, 1)
            reach = d * (k - 1)
            pads = [int(self.rng.integers(0, reach // d + 1)) for _ in range(2)] if self.maybe(0.6) else [0, 0]
            if size + sum(pads) <= reach:
                k = d = 1
                pads = [0, 0]
            kernel.append(k)
            dilation.append(d)
            padding += pads
            stride.append(self.pick(1, 1, 2, 3))
        top, bottom, left, right = padding
        return (kernel[0], kernel[1]), (stride[0], stride[1]), (top, bottom, left, right), (dilation[0], dilation[1])

    def conv(self, x: str) -> None:
        shape = self.b.tensors[x].shape
        kernel, stride, padding, dilation = self.geometry(shape)
        groups = 1
        channels = self.pick(1, 2, 3, 5, 8, 12)
        if self.maybe(0.4):
            groups = self.pick(*[g for g in range(1, shape[2] + 1) if shape[2] % g == 0])
            channels = groups * self.pick(1, 1, 2, 3)
        self.b.conv(
            x,
            channels,
            kernel,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            w_bits=self.w_bits(),
            out=self.quantizer(),
            relu=self.maybe(),
            per_channel=self.maybe(0.8),
            gain=self.pick(1, 3),
        )

    def linear(self, _: str) -> None:
        x = self.source(1)
        if x is None:
            x = self.b.flatten(self.source(3) or "")
        self.b.linear(x, self.pick(1, 3, 10), w_bits=self.w_bits(), out=self.quantizer(), relu=self.maybe())

    def add(self, x: str) -> None:
        b = self.b
        y = b.requantize(x, self.quantizer()) if self.maybe() else x
        b.add(*((x, y) if self.maybe() else (y, x)), self.quantizer(), relu=self.maybe())

    def concat(self, x: str) -> None:
        b = self.b
        axis = int(self.rng.integers(len(b.tensors[x].shape)))
        y = b.requantize(x, b.like(x)) if self.maybe() else x
        if axis == 2 and self.maybe():
            y = b.conv(x, self.pick(1, 2, 3), (1, 1), out=b.like(x))
        b.concat([x, y] if self.maybe() else [y, x, y], axis)

    def avg_pool(self, x: str) -> None:
        kernel, stride, padding, _ = self.geometry(self.b.tensors[x].shape)
        room = [self.b.tensors[x].shape[i] + sum(padding[2 * i : 2 * i + 2]) for i in range(2)]
        if kernel[0] > room[0] or kernel[1] > room[1]:
            kernel, padding = (1, 1), (0, 0, 0, 0)
        self.b.avg_pool(x, kernel, stride, padding, self.quantizer())

    def max_pool(self, x: str) -> None:
        shape = self.b.tensors[x].shape
        kernel, stride, padding, dilation = self.geometry(shape)
        if any(max(padding[2 * i : 2 * i + 2]) and dilation[i] * (kernel[i] - 1) > shape[i] for i in range(2)):
            kernel, padding, dilation = (1, 1), (0, 0, 0, 0), (1, 1)
        if any(dilation[i] > shape[i] for i in range(2)):
            dilation = (1, 1)
        self.b.max_pool(x, kernel, stride, padding, dilation)

    def reshape(self, x: str) -> None:
        elements = self.b.tensors[x].elements
        divisors = [d for d in range(1, min(elements, 12) + 1) if elements % d == 0]
        channels = self.pick(*divisors)
        height = self.pick(*[d for d in divisors if elements // channels % d == 0])
        self.b.reshape(x, (height, elements // channels // height, channels))

    def requantize(self, x: str) -> None:
        self.b.requantize(x, self.quantizer(), relu=self.maybe())

    def pad(self, x: str) -> None:
        top, bottom, left, right = (int(size) for size in self.rng.integers(0, 3, 4))
        self.b.pad(x, (top, bottom, left, right))

    def grow(self, count: int) -> Network:
        makers = [self.conv, self.conv, self.conv, self.linear, self.add, self.concat, self.avg_pool]
        makers += [self.max_pool, self.reshape, self.requantize, self.pad]
        while len(self.b.ops) < count:
            x = self.source(3)
            assert x is not None
            if self.b.tensors[x].elements > 600:
                self.b.conv(x, 3, (1, 1), stride=(2, 2), out=self.quantizer())
            else:
                makers[int(self.rng.integers(len(makers)))](x)
        return self.b.build()


def random_network(seed: int, ops: int = 8) -> Network:
    """A random valid network of at least ``ops`` ops; the same for the same seed."""
    random = _Random(seed)
    height = 1 if random.maybe(0.25) else random.pick(1, 3, 5, 8)
    for _ in range(random.pick(1, 1, 1, 2)):
        random.b.input((height, random.pick(1, 4, 7, 9), random.pick(1, 2, 3, 4, 5, 8)), random.quantizer())
    return random.grow(ops)


def random_inputs(network: Network, samples: int, seed: int = 0) -> list[npt.NDArray[np.int64]]:
    """Random codes for every input, ``(samples, *shape)``; the first two samples are the extremes of the range."""
    rng = np.random.default_rng(seed)
    inputs = []
    for tensor in network.input_tensors():
        codes = rng.integers(tensor.qmin, tensor.qmax + 1, size=(samples, *tensor.shape))
        codes[0] = tensor.qmin
        codes[1:2] = tensor.qmax
        inputs.append(codes)
    return inputs


def packed_samples(network: Network, codes: Sequence[npt.NDArray[np.int64]], names: Sequence[str]) -> list[bytes]:
    """Per sample, the packed bytes of some tensors back to back."""
    samples = len(codes[0])
    return [
        b"".join(pack(network.tensors[name], values[i : i + 1]) for name, values in zip(names, codes, strict=True))
        for i in range(samples)
    ]


def reference(network: Network, inputs: Sequence[npt.NDArray[np.int64]]) -> dict[str, list[bytes]]:
    """Per tensor and sample, the packed bytes that the interpreter computes."""
    values = run(network, inputs)
    return {
        name: [pack(network.tensors[name], codes[i : i + 1]) for i in range(len(codes))]
        for name, codes in values.items()
    }
