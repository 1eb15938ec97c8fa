# SPDX-License-Identifier: Apache-2.0
"""Networks of independent layers with random weights: what calibration runs, many layers to one firmware."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from plinio_deploy import fixedpoint
from plinio_deploy.network import (
    Add,
    AddRescale,
    AvgPool,
    Concat,
    Conv,
    Hi32,
    Linear,
    MaxPool,
    Network,
    Op,
    Pad,
    Padding,
    Requantize,
    Tensor,
    Weights,
)
from plinio_deploy.verify import verify

Pair = tuple[int, int]

WORD = 4
"""Bytes at whose multiples buffers of a network start."""


@dataclass(frozen=True)
class Spec:
    """One layer to measure.

    Attributes:
        op: ``conv`` (pointwise and depthwise too), ``linear``, ``add``, ``pool``, ``max_pool``, ``requantize`` or
            ``copy``.
        cin: input channels; elements of a vector.
        cout: output channels.
        size: input height and width.
        kernel: taps per axis.
        stride: per axis.
        same: whether zeros are added around, so that the output is as large as the input over the stride.
        centred: whether that padding is the same on both sides, as layers of PyTorch have it.
        groups: of a convolution.
        w_bits: width of each output channel; repeated as often as needed.
        a_bits: width of the input.
        other_bits: width of the second tensor of a sum; None: the same.
        out_bits: width of the output.
        signed: whether the input's codes are signed, with a zero point that is not 0.
        shifted: whether scales are so great that sums are shifted before they are multiplied.
    """

    op: str
    cin: int
    cout: int
    size: Pair = (1, 1)
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    same: bool = True
    centred: bool = False
    groups: int = 1
    w_bits: tuple[int, ...] = (8,)
    a_bits: int = 8
    other_bits: int | None = None
    out_bits: int = 8
    signed: bool = False
    shifted: bool = False

    @property
    def macs(self) -> int:
        """Multiply-accumulates; for ops without weights the elements that are read."""
        height, width = self.output
        taps = self.kernel[0] * self.kernel[1]
        if self.op in ("conv", "linear"):
            return height * width * self.cout * taps * self.cin // self.groups
        return height * width * self.cout * taps

    @property
    def padding(self) -> Padding:
        """Elements added at (top, bottom, left, right)."""
        if not self.same:
            return (0, 0, 0, 0)
        found = []
        for size, kernel, stride in zip(self.size, self.kernel, self.stride, strict=True):
            total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
            found += [kernel // 2] * 2 if self.centred else [total // 2, total - total // 2]
        return (found[0], found[1], found[2], found[3])

    @property
    def output(self) -> Pair:
        """Output height and width."""
        top, bottom, left, right = self.padding
        return (
            (self.size[0] + top + bottom - self.kernel[0]) // self.stride[0] + 1,
            (self.size[1] + left + right - self.kernel[1]) // self.stride[1] + 1,
        )


def scattered(rng: random.Random, channels: int) -> tuple[int, ...]:
    """Bits of channels whose widths change anywhere; in any order, as where it is tied, or equal ones together."""
    cuts = sorted(rng.randint(0, channels) for _ in range(2))
    found = [8] * cuts[0] + [4] * (cuts[1] - cuts[0]) + [2] * (channels - cuts[1])
    if rng.random() < 0.25:
        rng.shuffle(found)
    return tuple(found)


GREAT = 0.6
"""Least scale of a shifted layer: above a half, a multiplier of 31 bits does not reach without a shift."""


class Builder:
    """An integer network, layer by layer; weights are random, quantizers let outputs use their range.

    Args:
        name: of the network.
        seed: of its weights.
    """

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.rng = np.random.default_rng(seed)
        self.tensors: dict[str, Tensor] = {}
        self.inputs: list[str] = []
        self.ops: list[Op] = []

    def input(self, shape: Sequence[int], bits: int, *, signed: bool = False, copy: int = 0) -> Tensor:
        """The network input of this shape and width, the same one at each call with equal arguments."""
        shape = tuple(int(size) for size in shape)
        name = f"x{copy}_" + "_".join(map(str, shape)) + f"_{'s' if signed else 'u'}{bits}"
        if name not in self.tensors:
            self._input(Tensor(name, shape, bits, signed, 0.02 * (1 + copy), -1 if signed else 0))
        return self.tensors[name]

    def _input(self, tensor: Tensor) -> None:
        """A new input that starts at a whole word, as all tensors within a network do.

        The bench lays inputs back to back, so bytes that nobody reads may have to lie before it. A layer takes up to a
        fifth longer where its input starts elsewhere.
        """
        found = [tensor]
        if rest := sum(self.tensors[name].nbytes for name in self.inputs) % WORD:
            found.insert(0, Tensor(f"before_{tensor.name}", (WORD - rest,), 8, False, 1.0, 0))
        for entry in found:
            self.inputs.append(entry.name)
            self.tensors[entry.name] = entry

    def add(self, spec: Spec, name: str, sources: Sequence[Tensor] | None = None) -> Tensor:
        """Append a layer.

        Args:
            spec: what it is.
            name: of the op, and with ``_out`` of its output.
            sources: what it reads; left out, network inputs of the right shape.
        """
        shape = (spec.cin,) if spec.op == "linear" else (*spec.size, spec.cin)
        count = 2 if spec.op in ("add", "copy") else 1
        if sources is None:
            widths = (spec.a_bits, spec.other_bits or spec.a_bits)[:count]
            sources = [
                self.input(shape, bits, signed=spec.signed, copy=index if spec.op == "add" else 0)
                for index, bits in enumerate(widths)
            ]
        out = (spec.cout,) if spec.op == "linear" else (*spec.output, spec.cout)
        kept = spec.op in ("max_pool", "copy")
        bits, signed, scale, zero = (
            (sources[0].bits, sources[0].signed, sources[0].scale, sources[0].zero_point)
            if kept
            else (spec.out_bits, False, 0.03 * (1 + self._jitter(spec)), 0)
        )
        output = Tensor(f"{name}_out", out, bits, signed, scale, zero)
        self.tensors[output.name] = output
        self.ops.append(self._op(spec, name, sources, output))
        return output

    def _jitter(self, spec: Spec) -> float:
        """Scales differ, as they do in trained networks.

        With equal ones, or ones of simple ratios, compilers would find cheaper ways to multiply by constants.
        """
        count = len(self.ops)
        return count % 7 / 10 if spec.op in ("conv", "linear") else 0.618034 * (1 + count) % 1

    def build(self, outputs: Sequence[str]) -> Network:
        """The verified network."""
        return verify(Network(self.name, "hi32", tuple(self.inputs), tuple(outputs), self.tensors, tuple(self.ops)))

    def _op(self, spec: Spec, name: str, sources: Sequence[Tensor], out: Tensor) -> Op:
        source = sources[0]
        if spec.op in ("conv", "linear"):
            return self._weighted(spec, name, source, out)
        if spec.op == "add":
            return self._sum(name, (sources[0], sources[1]), out)
        if spec.op == "max_pool":
            return MaxPool(name, source.name, out.name, spec.kernel, spec.stride, spec.padding)
        if spec.op == "copy" and len(sources) == 1:
            return Pad(name, source.name, out.name, (1, 1, 1, 1))
        if spec.op == "copy":
            return Concat(name, tuple(tensor.name for tensor in sources), out.name, 2)
        count = spec.kernel[0] * spec.kernel[1]
        requant, half = _requant(np.array([source.scale / out.scale / count]), count * 300, out)
        bias = (-source.zero_point * count << requant.shift) + int(half[0])
        if spec.op == "requantize":
            return Requantize(name, source.name, out.name, bias, requant)
        return AvgPool(name, source.name, out.name, spec.kernel, bias, requant, spec.stride, spec.padding)

    def _weighted(self, spec: Spec, name: str, source: Tensor, out: Tensor) -> Conv | Linear:
        widths = tuple(spec.w_bits[channel * len(spec.w_bits) // spec.cout] for channel in range(spec.cout))
        shape = (spec.cout, *spec.kernel, spec.cin // spec.groups) if spec.op == "conv" else (spec.cout, spec.cin)
        codes = np.zeros(shape, dtype=np.int8)
        for channel, width in enumerate(widths):
            codes[channel] = self.rng.integers(-(1 << (width - 1)), 1 << (width - 1), size=shape[1:])
        _least_codes(codes, widths, digits=bool(zlib.crc32(repr(spec).encode()) & 1))
        flat = codes.reshape(spec.cout, -1).astype(np.int64)
        spread = np.sqrt((flat**2).sum(axis=1) + 1.0) * (source.qmax - source.qmin) / 4
        start = np.rint(self.rng.normal(0, 0.5, spec.cout) * spread).astype(np.int64) - source.zero_point * flat.sum(1)
        low, high = fixedpoint.accumulator_range(codes, np.zeros_like(start), (source.qmin, source.qmax))
        peak = int(max(np.abs(low).max(), np.abs(high).max()) + np.abs(start).max())
        scale = (out.qmax - out.qmin) / (6 * spread)
        if spec.shifted:
            scale *= GREAT * (1 + self._jitter(spec)) / scale.max()
        requant, half = _requant(scale, peak, out)
        bias = ((start << requant.shift) + half).astype(np.int32)
        weights = Weights(codes, widths)
        if spec.op == "linear":
            return Linear(name, source.name, out.name, weights, bias, requant)
        return Conv(name, source.name, out.name, weights, bias, requant, spec.stride, spec.padding, groups=spec.groups)

    def _sum(self, name: str, sources: tuple[Tensor, Tensor], out: Tensor) -> Add:
        a, b = sources
        found = fixedpoint.choose_add(
            (a.scale, b.scale),
            (a.zero_point, b.zero_point),
            ((a.qmin, a.qmax), (b.qmin, b.qmax)),
            out.scale,
            out.zero_point,
        )
        rescale = AddRescale(found.multipliers, found.shift, found.offset, (out.qmin, out.qmax))
        return Add(name, (a.name, b.name), out.name, rescale)


def _least_codes(codes: npt.NDArray[np.int8], widths: Sequence[int], *, digits: bool) -> None:
    """Put -128 above a negative weight into the first two channels of 8 bits, or leave no -128 in them.

    Kernels may be slower with such a pair. Weights that only were rounded have none, trained ones do in some layers, so
    half of the layers here have one.
    """
    eights = [channel for channel, width in enumerate(widths) if width == 8]
    codes[eights] = np.maximum(codes[eights], -127)
    if digits and len(eights) > 1:
        codes[eights[0]].flat[0], codes[eights[1]].flat[0] = -1, -128


def _requant(scale: npt.NDArray[np.float64], peak: int, out: Tensor) -> tuple[Hi32, npt.NDArray[np.int64]]:
    found = fixedpoint.choose_hi32(scale, peak)
    return Hi32(found.multiplier, found.shift, (out.qmin, out.qmax)), np.asarray(found.half)
