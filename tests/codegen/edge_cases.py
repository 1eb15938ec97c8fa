# SPDX-License-Identifier: Apache-2.0
"""Layers on which kernels for an instruction set could go wrong, many to a network."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from plinio_deploy.network import Network
from tests.networks import Builder, Quantizer

U8: Quantizer = (8, False, 0.05, 0)
U8_ZERO_POINT: Quantizer = (8, False, 0.05, 131)
S8: Quantizer = (8, True, 0.05, 0)
S8_ZERO_POINT: Quantizer = (8, True, 0.05, -9)
QUANTIZERS = (U8, U8_ZERO_POINT, S8, S8_ZERO_POINT)
MIXED = (8,) * 5 + (4,) * 3 + (2,) * 5


def convolutions(seed: int = 1) -> Network:
    """Odd channels, K off the vectors, strides, dilation, lopsided padding, single pixels, every width of weights."""
    b = Builder(seed, name="convolutions")
    for index, q in enumerate(QUANTIZERS):
        out = QUANTIZERS[-1 - index]
        x = b.input((5, 5, 3), q)
        b.conv(x, 5, padding=(1, 1, 1, 1), out=out, relu=True)
        b.conv(x, 8, (3, 2), stride=(2, 2), padding=(0, 1, 2, 1), w_bits=(4,), out=q)
        b.conv(x, 13, (2, 3), dilation=(2, 1), padding=(1, 0, 0, 3), w_bits=MIXED, out=out)
        b.conv(x, 4, (2, 3), dilation=(1, 2), padding=(0, 0, 1, 2), w_bits=(2,), out=out)
        b.conv(b.input((1, 1, 7), q), 3, padding=(1, 1, 1, 1), w_bits=(2, 8, 4), out=out)
        b.conv(b.input((4, 3, 16), q), 6, (1, 1), out=out)
        b.conv(b.input((3, 4, 20), q), 8, (1, 1), stride=(2, 1), w_bits=(4,), out=out, relu=True)
        b.conv(b.input((2, 1, 35), q), 4, (1, 1), w_bits=(2,), out=out)
    return b.build()


def packed(seed: int = 5) -> Network:
    """Codes of 4 and 2 bits in, out, and both, signed and not, with zero points."""
    b = Builder(seed, name="packed")
    for bits, signed, zero_point in product((4, 2), (False, True), (0, 1)):
        q = (bits, signed, 0.4, zero_point)
        other: Quantizer = (6 - bits, not signed, 0.3, zero_point)
        x = b.input((5, 4, 8), q)
        b.conv(x, 8, padding=(1, 1, 1, 1), w_bits=(bits,), out=q, relu=True)
        b.conv(x, 12, (3, 2), stride=(2, 1), padding=(0, 1, 1, 0), w_bits=(8,) * 4 + (4,) * 4 + (2,) * 4, out=other)
        b.conv(x, 5, (2, 2), dilation=(1, 2), padding=(1, 0, 0, 2), out=U8)
        b.conv(b.input((3, 3, 20), S8), 8, padding=(1, 1, 1, 1), w_bits=(4,), out=q)
        b.linear(b.input((52,), q), 8, w_bits=(bits,), out=other)
    return b.build()


def deep(seed: int = 2) -> Network:
    """Dot products longer than what is unrolled; loops along K with and without a rest; output rows over 4 KiB."""
    b = Builder(seed, name="deep")
    for q in (U8, S8_ZERO_POINT):
        x = b.input((2, 1, 325), q)
        for w_bits in ((8,), (4,), (2,)):
            b.conv(x, 6, (1, 1), w_bits=w_bits, out=U8)
            b.conv(b.input((1, 3, 70), q), 4, (1, 3), padding=(0, 0, 1, 1), w_bits=w_bits, out=S8)
    b.conv(b.input((1, 2, 9), S8), 4098, (1, 1), out=S8)
    b.conv(b.input((1, 4, 1400), U8), 1400, (1, 3), groups=1400, out=U8)
    return b.build()


def others(seed: int = 3) -> Network:
    """Matrix products, sums, also of a tensor with itself, and sums that could overflow a signed byte."""
    b = Builder(seed, name="others")
    for index, q in enumerate(QUANTIZERS):
        out = QUANTIZERS[-1 - index]
        for depth, channels, w_bits in ((1, 4, (8,)), (16, 5, (8,)), (45, 13, MIXED), (200, 8, (4,)), (131, 3, (2,))):
            b.linear(b.input((depth,), q), channels, w_bits=w_bits, out=out)
        x, y = b.input((3, 2, 5), q), b.input((3, 2, 5), out)
        b.add(x, y, out, relu=True)
        b.add(x, x, q)
        b.add(y, x, (8, True, 0.02, 100))
    return b.build()


def depthwise(seed: int = 4, quantizers: Sequence[Quantizer] = QUANTIZERS) -> Network:
    """Windows of one to five rows, odd widths, one column, dilation, lopsided padding, channels off the vectors."""
    b = Builder(seed, name="depthwise")
    for index, q in enumerate(quantizers):
        out = QUANTIZERS[-1 - index]
        x = b.input((5, 6, 8), q)
        b.conv(x, 8, groups=8, padding=(1, 1, 1, 1), out=out, relu=True)
        b.conv(x, 8, (2, 3), groups=8, out=q, w_bits=(4, 2))
        b.conv(x, 8, (5, 1), groups=8, stride=(2, 2), padding=(3, 2, 0, 0), out=out)
        y = b.input((4, 5, 11), q)
        b.conv(y, 11, groups=11, stride=(2, 1), padding=(0, 1, 2, 0), out=out)
        b.conv(y, 11, (2, 2), groups=11, dilation=(2, 3), padding=(1, 0, 0, 2), out=q)
        b.conv(b.input((3, 1, 70), q), 70, groups=70, padding=(1, 1, 1, 1), out=out)
        b.conv(b.input((1, 4, 130), q), 130, (1, 3), stride=(1, 2), groups=130, padding=(0, 0, 1, 0), out=out)
    return b.build()


def interleaved(seed: int = 6) -> Network:
    """Widths that change from channel to channel, more often than runs may, and codes packed at any channel."""
    b = Builder(seed, name="interleaved")
    rng = np.random.default_rng(seed)

    def drawn(channels: int, group: int = 1) -> list[int]:
        widths = rng.choice([8, 4, 2], -(-channels // group)).repeat(group)[:channels]
        return [int(width) for width in widths]

    for index, q in enumerate(QUANTIZERS):
        digits: Quantizer = ((4, 2)[index % 2], index < 2, 0.3, index % 2)
        x = b.input((3, 3, 12), q)
        b.conv(x, 45, padding=(1, 1, 1, 1), w_bits=drawn(45), out=QUANTIZERS[-1 - index])
        b.conv(x, 30, (1, 1), stride=(2, 1), w_bits=drawn(30), out=digits, relu=True)
        b.conv(b.input((1, 1, 20), digits), 17 + index, (1, 1), w_bits=(8, 2, 2, 4, 2), out=digits)
        b.conv(b.input((2, 3, 20), digits), 9 + index, (1, 1), w_bits=(4,), out=digits)
        b.conv(b.input((2, 3, 36), q), 36, groups=36, padding=(1, 1, 1, 1), w_bits=drawn(36), out=U8)
        b.linear(b.input((36,), digits), 90, w_bits=drawn(90, 4), out=q)
        b.linear(b.input((21,), q), 13 + index, w_bits=(2, 2, 2, 2, 4), out=digits)
    return b.build()


NETWORKS = (convolutions, deep, others, depthwise, packed)
