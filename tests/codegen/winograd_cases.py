# SPDX-License-Identifier: Apache-2.0
"""Networks of 3 x 3 convolutions for Winograd's method."""

from __future__ import annotations

from collections.abc import Callable

from plinio_deploy.network import Network, Padding
from tests.codegen.dsp_cases import NONE, SAME, U8, Given
from tests.networks import Builder


def shapes(seed: int = 0) -> Network:
    """1 x 1 images, single rows and columns, odd sizes and channels, lopsided padding, outputs all padding."""
    b = Builder(seed, name="winograd_shapes")
    paddings: tuple[tuple[tuple[int, int, int], int, Padding], ...] = (
        ((1, 1, 5), 3, SAME),
        ((1, 9, 4), 4, SAME),
        ((9, 1, 4), 5, SAME),
        ((5, 5, 3), 4, SAME),
        ((6, 7, 8), 8, NONE),
        ((4, 3, 1), 1, SAME),
        ((2, 5, 4), 4, (1, 1, 0, 1)),
        ((3, 4, 12), 8, (2, 1, 2, 2)),
        ((8, 8, 16), 8, SAME),
        ((5, 10, 20), 4, (1, 0, 0, 1)),
        ((3, 3, 4), 4, NONE),
        ((4, 3, 4), 4, (0, 0, 2, 0)),
        ((6, 6, 40), 4, NONE),
        ((1, 1, 4), 8, (3, 3, 3, 3)),
        ((7, 6, 2), 8, (2, 2, 2, 2)),
    )
    for index, (shape, channels, padding) in enumerate(paddings):
        x = b.input(shape, (8, bool(index % 2), 0.05, 3 * (index % 3)))
        bits = ((8,), (4,), (2,))[index % 3]
        out = b.quantizer(8, bool(index // 2 % 2))
        b.conv(x, channels, (3, 3), padding=padding, w_bits=bits, out=out, relu=index % 4 == 1)
    return b.build()


def extremes() -> Network:
    """Weights at the ends of their range, several widths in one layer, long sums, codes that saturate."""
    b = Given(1, name="winograd_extremes")
    x, y = b.input((3, 4, 72), U8), b.input((3, 4, 72), (8, True, 0.05, -4))
    for b.pattern, bits in (
        ((-128,), (8,)),
        ((127,), (8,)),
        ((127, -128, -128), (8,)),
        ((-128, 0, 127), (8,)),
        ((-8,), (4,)),
        ((7, -8), (4,)),
        ((-2,), (2,)),
        ((1, -2, 0), (2,)),
        ((), (8, 8, 4, 4, 2, 2)),
    ):
        for source in (x, y):
            b.conv(source, 6, (3, 3), padding=SAME, w_bits=bits, gain=3)
    b.pattern = (127, -128)
    b.conv(b.input((4, 4, 252), U8), 4, (3, 3))
    return b.build()


WINOGRAD: dict[str, Callable[[], Network]] = {"shapes": shapes, "extremes": extremes}
"""By name."""
