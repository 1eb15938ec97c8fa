# SPDX-License-Identifier: Apache-2.0
"""Networks of many layers side by side, for kernels that are chosen by shape, width and the range of sums.

Each layer reads an input of the network and is an output of it, so that one compilation, or one firmware, tries all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from plinio_deploy.network import Linear, Network, Op, Padding, Weights
from plinio_deploy.verify import verify
from tests.networks import Builder, Quantizer

NONE: Padding = (0, 0, 0, 0)
SAME: Padding = (1, 1, 1, 1)
U8: Quantizer = (8, False, 0.05, 0)


class Given(Builder):
    """A builder whose weights repeat given codes instead of random ones."""

    pattern: Sequence[int] = ()

    def weights(self, shape: Sequence[int], bits: Sequence[int]) -> Weights:
        """The pattern along each row; row after row goes on where the one before ended."""
        made = super().weights(shape, bits)
        if not self.pattern:
            return made
        codes = np.resize(np.array(self.pattern, dtype=np.int8), made.codes.shape)
        return Weights(codes, made.bits)


def conv_shapes(seed: int = 0) -> Network:
    """1 x 1 images, single pixels, odd sizes and channels, strides, dilations, lopsided padding, kernels over edges."""
    b = Builder(seed, name="conv_shapes")
    shapes = ((1, 1, 5), (1, 9, 4), (5, 5, 3), (6, 7, 8), (4, 3, 1))
    for index, shape in enumerate(shapes):
        x = b.input(shape, (8, bool(index % 2), 0.05, 3 * (index % 3)))
        height, width = shape[:2]
        for channels, kernel, stride, padding, dilation in (
            (4, (1, 1), (1, 1), NONE, (1, 1)),
            (7, (1, 1), (2, 2), NONE, (1, 1)),
            (1, (3, 3), (1, 1), SAME, (1, 1)),
            (6, (3, 3), (2, 2), (1, 0, 0, 1), (1, 1)),
            (9, (3, 3), (1, 1), (2, 2, 2, 2), (2, 2)),
            (5, (2, 4), (2, 1), (1, 0, 3, 1), (1, 1)),
            (8, (height, width), (1, 1), NONE, (1, 1)),
        ):
            reach = [size + padding[2 * i] + padding[2 * i + 1] for i, size in enumerate((height, width))]
            if all(room > dilation[i] * (kernel[i] - 1) for i, room in enumerate(reach)):
                b.conv(x, channels, kernel, stride=stride, padding=padding, dilation=dilation)
    return b.build()


def conv_widths(a_bits: int, seed: int = 0) -> Network:
    """Every width and sign of weights and outputs, runs of several widths, clamps, for one width of inputs."""
    b = Builder(seed + a_bits, name=f"conv_widths{a_bits}")
    weights = ((2,), (4,), (8,), (8, 8, 8, 4, 4, 4, 2, 2, 2, 2))
    for signed in (False, True):
        x = b.input((3, 5, 6), b.quantizer(a_bits, signed))
        y = b.input((4, 3, 3), b.quantizer(a_bits, signed))
        for index, (w_bits, out_bits, out_signed) in enumerate(product(weights, (2, 4, 8), (False, True))):
            out, relu = b.quantizer(out_bits, out_signed), index % 3 == 0
            b.conv(x, 10, (3, 3), padding=SAME, w_bits=w_bits, out=out, relu=relu, gain=1 + index % 2 * 8)
            b.conv(y, 3, (2, 2), padding=(1, 0, 1, 0), w_bits=w_bits[:1], out=out, relu=relu)
    return b.build()


def conv_extremes() -> Network:
    """Weights at the ends of their range, long sums, and words that a packing cannot hold."""
    b = Given(5, name="conv_extremes")
    x, y = b.input((3, 3, 72), U8), b.input((3, 3, 72), (8, True, 0.05, -4))
    for bits, patterns in (
        (8, ((-128,), (127,), (-128, -1, 5), (-127, -1, 127), (127, -128))),
        (4, ((-8,), (7,), (-8, -1, 3))),
        (2, ((-2,), (1,), (-2, 1, 0))),
    ):
        for pattern in patterns:
            b.pattern = pattern
            for source in (x, y):
                b.conv(source, 6, (3, 3), padding=SAME, w_bits=(bits,), gain=3)
    return b.build()


def chain_limits() -> Network:
    """Weights of 4 and 2 bits whose sums reach almost as far as three accumulators can tell four channels apart."""
    b = Given(6, name="chain_limits")
    for signed in (False, True):
        x, y, z = (b.input((length,), (8, signed, 0.05, 0)) for length in (256, 1024, 40))
        for bits, source, patterns in (
            (4, x, ((-8,), (7,), (-8, 7, 7))),
            (2, y, ((-2,), (1,), (-2, 1, 1))),
            (4, z, ((-8, 7, 0),)),
            (2, z, ((-2, 1, 0),)),
        ):
            for b.pattern in patterns:
                b.linear(source, 7, w_bits=(bits,), out=b.quantizer(8, signed))
        b.pattern = (-2,)  # one more product than they can
        b.linear(b.input((1032,), (8, signed, 0.05, 0)), 7, w_bits=(2,))
        b.conv(b.input((2, 2, 258), (8, signed, 0.05, 0)), 5, (2, 2), w_bits=(2,))
        b.pattern = ()
        turns = b.input((4, 3, 16), (8, signed, 0.05, 0))  # segments of 32 bytes: a whole turn
        for bits, channels in ((8, 5), (4, 5), (2, 9)):
            b.conv(turns, channels, (2, 2), w_bits=(bits,))
        image = b.input((3, 2, 28), (8, signed, 0.05, 0))
        for bits, b.pattern in ((4, (-8,)), (4, (7,)), (4, (-8, 7, 0)), (2, (-2,)), (2, (-2, 1, 0))):
            b.conv(image, 6, (3, 3), padding=SAME, w_bits=(bits,), gain=3)
    return b.build()


def depthwise_shapes(a_bits: int = 8, seed: int = 0) -> Network:
    """Odd sizes and channels, strides, dilations, lopsided padding, every width of weights and outputs."""
    b = Builder(seed + 20 + a_bits, name=f"depthwise{a_bits}")
    for index, shape in enumerate(((1, 1, 4), (5, 5, 3), (6, 7, 8), (3, 1, 10))):
        x = b.input(shape, b.quantizer(a_bits, bool(index % 2)))
        height, width, channels = shape
        for turn, (kernel, stride, padding, dilation) in enumerate(
            (
                ((1, 1), (1, 1), NONE, (1, 1)),
                ((3, 3), (1, 1), SAME, (1, 1)),
                ((3, 3), (2, 2), (1, 0, 0, 1), (1, 1)),
                ((3, 2), (1, 2), (2, 2, 1, 1), (2, 1)),
                ((height, width), (1, 1), NONE, (1, 1)),
            )
        ):
            reach = [size + padding[2 * i] + padding[2 * i + 1] for i, size in enumerate((height, width))]
            if any(room <= dilation[i] * (kernel[i] - 1) for i, room in enumerate(reach)):
                continue
            for w_bits in ((8,), (4,), (2,), (8, 2)):
                out = b.quantizer((8, 4, 2)[(turn + index) % 3])
                b.conv(
                    x,
                    channels,
                    kernel,
                    stride=stride,
                    padding=padding,
                    dilation=dilation,
                    groups=channels,
                    w_bits=w_bits,
                    out=out,
                    relu=turn % 2 == 0,
                )
    return b.build()


def depthwise_in_place() -> Network:
    """A chain whose depthwise layers overwrite their inputs."""
    b = Builder(31, name="depthwise_in_place")
    x = b.conv(b.input((7, 5, 4), U8), 8, (1, 1), out=U8)
    for padding, dilation in ((SAME, (1, 1)), ((2, 0, 1, 1), (1, 1)), ((0, 2, 2, 2), (1, 2)), ((2, 2, 2, 2), (2, 2))):
        x = b.conv(x, 8, (3, 3), padding=padding, dilation=dilation, groups=8, out=U8, relu=True)
    return b.build(b.conv(x, 4, (1, 1), out=U8))


def linear_shapes(seed: int = 0) -> Network:
    """Short and long vectors, odd lengths, every width and sign of inputs, weights and outputs."""
    b = Builder(seed + 40, name="linear_shapes")
    for index, (length, a_bits) in enumerate(product((1, 7, 8, 24, 400), (2, 4, 8, 8))):
        x = b.input((length,), b.quantizer(a_bits, bool(index % 2)))
        for w_bits in ((8,), (4,), (2,), (8, 8, 8, 8, 2)):
            b.linear(x, 1 + (index + w_bits[0]) % 9, w_bits=w_bits, out=b.quantizer((8, 4, 2)[index % 3]))
    return b.build()


def linear_shared(seed: int = 0) -> Network:
    """One multiplier per layer and biases of 16 bits in units: all widths, signs and packings; some do not fit."""
    b = Given(seed + 41, name="linear_shared")
    for index, (length, a_bits) in enumerate(product((7, 24, 96), (2, 4, 8, 8))):
        x = b.input((length,), b.quantizer(a_bits, bool(index % 2)))
        for w_bits in ((8,), (4,), (2,), (8, 8, 8, 8, 2)):
            channels, out = 1 + (index + w_bits[0]) % 9, b.quantizer((8, 4, 2)[index % 3])
            b.linear(x, channels, w_bits=w_bits, out=out, relu=index % 2 > 0, per_channel=False)
    for bits, b.pattern in ((8, (-128, -1, 5)), (8, (127,)), (4, (-8,)), (2, (-2,))):
        b.linear(b.input((400,), U8), 9, w_bits=(bits,), per_channel=False)
        b.linear(b.input((1040,), U8), 9, w_bits=(bits,), per_channel=False)
    return in_units(b.build(), lambda index: index % 5 > 0)


def in_units(network: Network, chosen: Callable[[int], bool] = lambda _: True) -> Network:
    """The same with biases of some matrix products rounded so that they fit 16 bits in units of a power of two."""
    ops: list[Op] = []
    for index, op in enumerate(network.ops):
        if isinstance(op, Linear) and chosen(index):
            unit = 1 << max(0, int(np.abs(op.bias).max()).bit_length() - 14)
            ops.append(replace(op, bias=(op.bias // unit * unit).astype(np.int32)))
        else:
            ops.append(op)
    return verify(replace(network, ops=tuple(ops)))


def elementwise() -> Network:
    """Adds of bytes and average pools, signed and not, in place and not."""
    b = Builder(50, name="elementwise")
    for signed, zero in product((False, True), (False, True)):
        x, y = b.input((4, 6, 8), b.quantizer(8, signed, zero)), b.input((4, 6, 8), b.quantizer(8, not signed))
        total = b.add(x, y, relu=zero)
        b.add(total, x, b.quantizer(8, signed))
        for kernel, stride in (((4, 6), (1, 1)), ((2, 3), (2, 3)), ((3, 2), (1, 2))):
            b.avg_pool(x, kernel, stride, out=b.quantizer(8 if zero else 4, signed))
    return b.build()


DSP: dict[str, Callable[[], Network]] = {
    "conv_shapes": conv_shapes,
    "conv_widths2": lambda: conv_widths(2),
    "conv_widths4": lambda: conv_widths(4),
    "conv_widths8": lambda: conv_widths(8),
    "conv_extremes": conv_extremes,
    "chain_limits": chain_limits,
    "depthwise2": lambda: depthwise_shapes(2),
    "depthwise4": lambda: depthwise_shapes(4),
    "depthwise8": lambda: depthwise_shapes(8),
    "depthwise_in_place": depthwise_in_place,
    "linear_shapes": linear_shapes,
    "linear_shared": linear_shared,
    "elementwise": elementwise,
}
"""Networks by name."""
