# SPDX-License-Identifier: Apache-2.0
"""What the time of an op depends on: its kind, widths, sizes and window.

The same for an integer network (whole numbers) and for a network under search (numbers that may be tensors of torch,
which is why nothing here rounds or compares).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, TypeAlias

from plinio_deploy.network import (
    Add,
    AvgPool,
    Concat,
    Conv,
    Linear,
    MaxPool,
    Network,
    Op,
    Pad,
    Requantize,
    op_inputs,
    runs_of,
)
from plinio_deploy.targets.calibration.packing import has_digits, packed

Number: TypeAlias = Any
"""A float, or a tensor of one element of whoever calls: this package is below torch."""

OpName = Literal[
    "conv",
    "pointwise",
    "depthwise",
    "linear",
    "conv_transpose",
    "add",
    "mul",
    "pool",
    "max_pool",
    "requantize",
    "copy",
]
"""Kinds of ops. ``pointwise`` is a convolution with one tap, ``depthwise`` one with one input channel per group,
``pool`` an average, ``copy`` a concatenation or padding."""

WEIGHTED: tuple[OpName, ...] = ("conv", "pointwise", "depthwise", "linear", "conv_transpose")

Pair = tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """One op, or the output channels of one weight width of it.

    Attributes:
        op: its kind.
        w_bits: width of the weights; None for ops without.
        a_bits: width of the (first) input.
        cin: channels of the input; elements of a vector.
        cout: channels of the output that have `w_bits`.
        share: `cout` over all channels of the output: what is done once per layer is charged once.
        groups: of a convolution.
        kernel: taps per axis; the window of a pool.
        stride: per axis.
        source: input positions per axis.
        output: output positions per axis.
        before: padding per axis in front of the input.
        inside: mean fraction of the taps, per axis, that do not fall into padding.
        operands: tensors that are read.
        other_bits: width of the second tensor of a sum where it is not that of the first; else None.
        out_bits: width of the output; None: as the input.
        shifted: whether sums are shifted before they are scaled, which not every kernel can do. It takes great scales,
            which only the integer network knows; few trained layers have them.
        fours: whether every width of the layer's weights has a multiple of four channels; None: only those here count.
        digits: whether weights of 8 bits hold a -128 above a negative one, of the channel before. Kernels that pack two
            of them into 16 bits then need the sums of their patches. Trained layers may have such, or not.
        runs: of neighbours that have this width, as they are packed.
    """

    op: OpName
    w_bits: int | None
    a_bits: int
    cin: Number
    cout: Number
    share: Number = 1.0
    groups: Number = 1
    kernel: tuple[Number, Number] = (1, 1)
    stride: Pair = (1, 1)
    source: Pair = (1, 1)
    output: Pair = (1, 1)
    before: Pair = (0, 0)
    inside: tuple[float, float] = (1.0, 1.0)
    operands: int = 1
    other_bits: int | None = None
    out_bits: int | None = None
    shifted: bool = False
    fours: bool | None = None
    digits: bool = False
    runs: int = 1

    @property
    def packed(self) -> int:
        """Bits of one element that is written."""
        return self.a_bits if self.out_bits is None else self.out_bits

    @property
    def positions(self) -> int:
        """Output positions."""
        return self.output[0] * self.output[1]

    @property
    def depth(self) -> Number:
        """Products per output: taps times input channels of a group."""
        return self.kernel[0] * self.kernel[1] * (self.cin / self.groups)


def whole_numbers(at: Geometry) -> Geometry:
    """The nearest layer that can be built, in plain numbers: what tables look up."""
    groups = at.cin if at.op == "depthwise" else at.groups
    given = [_plain(number) for number in (at.cin, at.cout, groups, *at.kernel)]
    whole = [max(1, round(number)) for number in given]
    share = round(_plain(at.share), 2)
    if given == whole and (share, whole[2]) == (at.share, at.groups):
        return at  # most layers of a search are whole, and a copy costs as much as the lookup
    return replace(at, cin=whole[0], cout=whole[1], share=share, groups=whole[2], kernel=(whole[3], whole[4]))


def _plain(number: Number) -> float:
    return float(number.detach()) if hasattr(number, "detach") else float(number)


@lru_cache(maxsize=4096)
def inside_fraction(size: int, output: int, kernel: int, stride: int, before: int, dilation: int = 1) -> float:
    """Mean fraction of the taps of one axis that fall inside the input, over all output positions."""
    hit = sum(0 <= out * stride - before + tap * dilation < size for out in range(output) for tap in range(kernel))
    return hit / (output * kernel)


def of_op(network: Network, op: Op, kernel: str | None = None) -> tuple[Geometry, ...]:
    """An op of an integer network: one `Geometry` for each width among its weights; none for what costs nothing.

    Args:
        network: where the op is.
        op: one of its ops.
        kernel: that executes it and may pack some channels wider than they are (see `packing`); ``None``: none does.
    """
    source, output = network.tensors[op_inputs(op)[0]], network.tensors[op.output]
    height, width, channels = (1, 1, *source.shape)[-3:]
    size = (1, 1, *output.shape)[-3:]
    positions = (size[0], size[1])
    common: dict[str, Any] = {"a_bits": source.bits, "out_bits": output.bits}
    common |= {"source": (height, width), "output": positions}
    common |= {"shifted": getattr(getattr(op, "requant", None), "shift", 0) > 0}
    if isinstance(op, Conv | Linear):
        return _weighted(op, channels, common, kernel)
    if isinstance(op, AvgPool | MaxPool):
        window = _window(op, (height, width), positions)
        name: OpName = "pool" if isinstance(op, AvgPool) else "max_pool"
        return (Geometry(name, None, cin=channels, cout=channels, **window, **common),)
    names: dict[type, OpName] = {Add: "add", Concat: "copy", Pad: "copy", Requantize: "requantize"}
    if type(op) not in names:
        return ()
    operands = len(op_inputs(op))
    each = size[2] / operands if isinstance(op, Concat) else size[2]
    if isinstance(op, Add) and (other := network.tensors[op.inputs[1]].bits) != source.bits:
        common["other_bits"] = other
    return (Geometry(names[type(op)], None, cin=each, cout=size[2], operands=operands, **common),)


def _weighted(op: Conv | Linear, channels: int, common: dict[str, Any], kernel: str | None) -> tuple[Geometry, ...]:
    shape: dict[str, Any] = {}
    name: OpName = "linear"
    if isinstance(op, Conv):
        shape = {**_window(op, common["source"], common["output"]), "groups": op.groups}
        name = conv_name(op.kernel, op.groups, depthwise=op.is_depthwise)
    total = op.weights.out_channels
    widths = packed(kernel, op.weights.bits)
    counts = {bits: widths.count(bits) for bits in sorted(set(widths), reverse=True)}
    whole = all(count % 4 == 0 for count in counts.values())
    digits = has_digits(op.weights, widths)
    return tuple(
        Geometry(
            name,
            bits,
            cin=channels,
            cout=count,
            share=count / total,
            fours=whole,
            digits=bits == 8 and digits,
            runs=sum(width == bits for width, _, _ in runs_of(widths)),
            **shape,
            **common,
        )
        for bits, count in counts.items()
    )


def conv_name(kernel: Sequence[float], groups: int, *, depthwise: bool) -> OpName:
    """The kind of a convolution as it was built."""
    if depthwise:
        return "depthwise"
    return "pointwise" if groups == 1 and math.prod(kernel) == 1 else "conv"


def _window(op: Conv | AvgPool | MaxPool, source: Pair, output: Pair) -> dict[str, Any]:
    dilation = getattr(op, "dilation", (1, 1))
    inside = tuple(
        inside_fraction(source[i], output[i], op.kernel[i], op.stride[i], op.padding[2 * i], dilation[i])
        for i in range(2)
    )
    before = (op.padding[0], op.padding[2])
    return {"kernel": op.kernel, "stride": op.stride, "before": before, "inside": inside}
