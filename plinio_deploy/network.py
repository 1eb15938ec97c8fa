# SPDX-License-Identifier: Apache-2.0
"""The integer network: what integerization writes and code generation reads.

The whole grammar, in one look (shapes are NHWC without the batch, which is always 1)::

    network    = name, flavour ("hi32" | "tflite"), inputs, outputs, tensors, ops in execution order
    tensor     = name, shape (H, W, C) or (C,), bits 2|4|8, signed, scale, zero_point
    op         = conv | linear | add | concat | avg_pool | max_pool | reshape | requantize | pad
    weights    = int8 codes + one bit width per output channel, out of 2|4|8
    requant    = hi32 (multiplier per channel, one shift) | tflite (multiplier and shift per channel)

    conv       input (H, W, C)     -> output (H', W', C')     2-D; 1-D is H = 1; depthwise is groups = C
    linear     input (C,)          -> output (C',)
    add        two inputs          -> output                  all of one shape
    concat     two or more inputs  -> output                  along `axis`; all share one quantizer
    avg_pool   input (H, W, C)     -> output (H', W', C)      padding counts as zeros
    max_pool   input (H, W, C)     -> output (H', W', C)      padding never wins; same quantizer
    reshape    input               -> output                  same codes in the same NHWC order
    requantize input               -> output                  same shape, another quantizer
    pad        input (H, W, C)     -> output (H', W', C)      with the zero point; same quantizer

What the integers mean is defined in `plinio_deploy.fixedpoint`; the rules a network keeps are in
`plinio_deploy.verify`. An activation's code q stands for the real number ``(q - zero_point) * scale``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate, groupby
from typing import ClassVar, Literal, TypeVar

import numpy as np
import numpy.typing as npt

Int8Array = npt.NDArray[np.int8]
Int32Array = npt.NDArray[np.int32]
Flavour = Literal["hi32", "tflite"]
Padding = tuple[int, int, int, int]
"""Elements added at (top, bottom, left, right)."""
T = TypeVar("T")


def runs_of(values: Iterable[T]) -> tuple[tuple[T, int, int], ...]:
    """Maximal runs of neighbours that are equal, as ``(value, first, count)``."""
    runs = [(value, len(list(run))) for value, run in groupby(values)]
    starts = accumulate((count for _, count in runs), initial=0)
    return tuple((value, first, count) for (value, count), first in zip(runs, starts, strict=False))


@dataclass(frozen=True)
class Tensor:
    """An activation tensor.

    Attributes:
        name: unique in its network; a C identifier once prefixed.
        shape: ``(H, W, C)``, or ``(C,)`` for a flat vector; every extent at least 1.
        bits: 2, 4 or 8.
        signed: two's complement codes if true.
        scale: real step between neighbouring codes, positive and finite.
        zero_point: the code that stands for the real number 0; inside ``[qmin, qmax]``.
    """

    name: str
    shape: tuple[int, ...]
    bits: int
    signed: bool
    scale: float
    zero_point: int

    @property
    def qmin(self) -> int:
        """Least code."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def qmax(self) -> int:
        """Greatest code."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    @property
    def channels(self) -> int:
        """Extent of the last axis."""
        return self.shape[-1]

    @property
    def elements(self) -> int:
        """Number of codes."""
        return math.prod(self.shape)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of channels: sub-byte codes are packed, a row is padded to whole bytes."""
        return (self.channels * self.bits + 7) // 8

    @property
    def nbytes(self) -> int:
        """Bytes of the packed tensor in memory."""
        return math.prod(self.shape[:-1]) * self.row_bytes

    def same_quantizer(self, other: Tensor) -> bool:
        """Whether equal codes of both stand for equal numbers."""
        return (self.bits, self.signed, self.scale, self.zero_point) == (
            other.bits,
            other.signed,
            other.scale,
            other.zero_point,
        )


@dataclass(frozen=True, eq=False)
class Weights:
    """Weight codes and the bit width of each output channel.

    Attributes:
        codes: int8, ``(C_out, K_h, K_w, C_in / groups)`` for conv, ``(C_out, C_in)`` for linear; a channel of b bits
            holds codes in ``[-2^(b-1), 2^(b-1) - 1]``. Not packed: packing belongs to code generation.
        bits: ``C_out`` widths out of 2, 4, 8. Channels of 0 bits do not exist (they were removed).
    """

    codes: Int8Array
    bits: tuple[int, ...]

    @property
    def out_channels(self) -> int:
        """Number of output channels."""
        return int(self.codes.shape[0])

    def runs(self) -> tuple[tuple[int, int, int], ...]:
        """Maximal runs of neighbouring channels of one width, as ``(bits, first, count)``."""
        return runs_of(self.bits)


@dataclass(frozen=True, eq=False)
class Hi32:
    """Requantization by the high word of one 32 x 32 bit product (`fixedpoint.requantize_hi32`).

    Attributes:
        multiplier: int32 ``(C_out,)``, or ``(1,)`` where one serves all channels; each in ``(0, 2^31)``.
        shift: left shift of the dot product, in ``[0, 31]``, almost always 0. The op's bias is added after it.
        clamp: least and greatest output code; inside the output tensor's range. A ReLU is a clamp at the zero point.
    """

    multiplier: Int32Array
    shift: int
    clamp: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Tflite:
    """Requantization as TensorFlow Lite defines it (`fixedpoint.requantize_tflite`).

    Attributes:
        multiplier: int32 ``(C_out,)`` or ``(1,)``, each in ``[2^30, 2^31)`` (or 0 for a channel that is constant).
        shift: int32 of the same shape, in ``[-31, 30]``; positive is to the left.
        double_rounding: true for the doubling-high-multiply followed by a rounding shift, false for one rounding.
        clamp: as in `Hi32`.
    """

    multiplier: Int32Array
    shift: Int32Array
    double_rounding: bool
    clamp: tuple[int, int]


Requant = Hi32 | Tflite


@dataclass(frozen=True, eq=False)
class AddRescale:
    """How an add brings its inputs to the output's scale: one multiply each (`fixedpoint.add_rescaled`).

    ``out = clamp((a * multipliers[0] + b * multipliers[1] + offset) >> shift)``: zero points, the rounding half and the
    output's zero point are all inside ``offset``. No input can overflow int32: the verifier proves it.

    Attributes:
        multipliers: two positive integers below 2^31; both 1 with ``shift`` 0 if the inputs share the output's
            quantizer.
        shift: right shift in ``[0, 30]``.
        offset: int32.
        clamp: as in `Hi32`.
    """

    multipliers: tuple[int, int]
    shift: int
    offset: int
    clamp: tuple[int, int]


@dataclass(frozen=True, eq=False)
class TfliteAdd:
    """TensorFlow Lite's add (`fixedpoint.add_tflite`): inputs shifted left, three Q31 multiplies.

    Attributes:
        left_shift: 20 for 8-bit codes.
        multipliers: Q31 multipliers of the two inputs and of the output.
        shifts: their shifts, positive to the left.
        double_rounding: as in `Tflite`.
        clamp: as in `Hi32`.
    """

    left_shift: int
    multipliers: tuple[int, int, int]
    shifts: tuple[int, int, int]
    double_rounding: bool
    clamp: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Conv:
    """Convolution of ``(H, W, C)`` with ``(C', K_h, K_w, C / groups)``; padded elements hold the input's zero point.

    ``bias`` is int32 ``(C',)``: the layer's bias minus ``zero_point_in * sum(w)`` plus, for `Hi32`, the rounding half,
    in units of the *shifted* accumulator (equal to plain ones while the shift is 0).

    ``accelerators`` names, for each output channel, what part of the chip is to compute it; the codes do not depend on
    it. Empty where one core computes everything.
    """

    kind: ClassVar[str] = "conv"
    name: str
    input: str
    output: str
    weights: Weights
    bias: Int32Array
    requant: Requant
    stride: tuple[int, int] = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    accelerators: tuple[str, ...] = ()

    @property
    def kernel(self) -> tuple[int, int]:
        """Kernel height and width."""
        return int(self.weights.codes.shape[1]), int(self.weights.codes.shape[2])

    @property
    def is_depthwise(self) -> bool:
        """Whether each group has one input channel and there is more than one group."""
        return self.groups > 1 and self.weights.codes.shape[3] == 1


@dataclass(frozen=True, eq=False)
class Linear:
    """Matrix product of ``(C,)`` with ``(C', C)``; `bias` and `accelerators` as in `Conv`."""

    kind: ClassVar[str] = "linear"
    name: str
    input: str
    output: str
    weights: Weights
    bias: Int32Array
    requant: Requant
    accelerators: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Add:
    """Element-wise sum of two tensors of one shape."""

    kind: ClassVar[str] = "add"
    name: str
    inputs: tuple[str, str]
    output: str
    rescale: AddRescale | TfliteAdd


@dataclass(frozen=True, eq=False)
class Concat:
    """Inputs one after another along ``axis``: 0 = H, 1 = W, 2 = C; for flat vectors 0."""

    kind: ClassVar[str] = "concat"
    name: str
    inputs: tuple[str, ...]
    output: str
    axis: int


@dataclass(frozen=True, eq=False)
class AvgPool:
    """Sum over the window, then requantize; 1 / (K_h K_w) is inside the multiplier. Padding counts as zeros.

    ``bias`` is one int32: ``-zero_point_in * K_h * K_w`` plus the rounding half, in shifted units (as in `Conv`). A
    `Tflite` requant has multiplier 0 here and means TFLite's own average: the sum divided by the number of *unpadded*
    elements, rounded half away from zero, with equal input and output quantizers.
    """

    kind: ClassVar[str] = "avg_pool"
    name: str
    input: str
    output: str
    kernel: tuple[int, int]
    bias: int
    requant: Requant
    stride: tuple[int, int] = (1, 1)
    padding: Padding = (0, 0, 0, 0)


@dataclass(frozen=True, eq=False)
class MaxPool:
    """Greatest code of the window; padded places are left out."""

    kind: ClassVar[str] = "max_pool"
    name: str
    input: str
    output: str
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)


@dataclass(frozen=True, eq=False)
class Reshape:
    """The same codes in the same NHWC order under another shape."""

    kind: ClassVar[str] = "reshape"
    name: str
    input: str
    output: str


@dataclass(frozen=True, eq=False)
class Requantize:
    """Change of quantizer, or a ReLU that could not join its producer; ``bias`` is one int32, as in `AvgPool`."""

    kind: ClassVar[str] = "requantize"
    name: str
    input: str
    output: str
    bias: int
    requant: Requant


@dataclass(frozen=True, eq=False)
class Pad:
    """Spatial padding with the zero point."""

    kind: ClassVar[str] = "pad"
    name: str
    input: str
    output: str
    padding: Padding


Op = Conv | Linear | Add | Concat | AvgPool | MaxPool | Reshape | Requantize | Pad
OP_TYPES: tuple[type[Op], ...] = (Conv, Linear, Add, Concat, AvgPool, MaxPool, Reshape, Requantize, Pad)


def op_inputs(op: Op) -> tuple[str, ...]:
    """Names of the tensors that an op reads, in order."""
    if isinstance(op, Add | Concat):
        return op.inputs
    return (op.input,)


@dataclass(frozen=True, eq=False)
class Network:
    """An integer network; build it once, never change it.

    Attributes:
        name: a C identifier.
        flavour: the requantization that all its ops use.
        inputs: tensor names that the caller provides, in order.
        outputs: tensor names that the caller receives, in order.
        tensors: every tensor by name.
        ops: in execution order; each tensor but the inputs is written by exactly one op.
    """

    name: str
    flavour: Flavour
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensors: Mapping[str, Tensor]
    ops: tuple[Op, ...] = field(default=())

    def input_tensors(self) -> tuple[Tensor, ...]:
        """The tensors that the caller provides."""
        return tuple(self.tensors[name] for name in self.inputs)

    def output_tensors(self) -> tuple[Tensor, ...]:
        """The tensors that the caller receives."""
        return tuple(self.tensors[name] for name in self.outputs)

    def consumers(self, tensor: str) -> Iterator[Op]:
        """The ops that read a tensor, in execution order."""
        return (op for op in self.ops if tensor in op_inputs(op))

    def macs(self, op: Op) -> int:
        """Nominal multiply-accumulates of one op (padding included); 0 for ops without weights."""
        if isinstance(op, Conv):
            height, width, _ = self.tensors[op.output].shape
            return height * width * op.weights.codes.size
        if isinstance(op, Linear):
            return int(op.weights.codes.size)
        return 0
