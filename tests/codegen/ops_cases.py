# SPDX-License-Identifier: Apache-2.0
"""One small network per way of writing an op: each makes one golden file."""

from __future__ import annotations

from collections.abc import Callable

from plinio_deploy.network import Network
from tests.networks import Builder, Quantizer

U8: Quantizer = (8, False, 0.05, 0)
S8: Quantizer = (8, True, 0.05, -3)
U4: Quantizer = (4, False, 0.4, 0)
S4: Quantizer = (4, True, 0.4, 1)
U2: Quantizer = (2, False, 0.9, 0)


def conv_padded_zero() -> Network:
    """Zero point 0: padded taps are skipped."""
    b = Builder(1)
    b.conv(b.input((6, 5, 4), U8), 8, padding=(1, 1, 1, 1), out=U8, relu=True)
    return b.build()


def conv_padded_zero_point() -> Network:
    """Another zero point: padded taps read a pixel of it; a run of each width."""
    b = Builder(2)
    b.conv(b.input((6, 5, 3), S8), 6, stride=(2, 2), padding=(1, 0, 1, 0), w_bits=(8, 8, 4, 4, 2, 2), out=S8)
    return b.build()


def conv_many_runs() -> Network:
    """Widths that change from channel to channel; packed activations."""
    b = Builder(3)
    b.conv(b.input((4, 4, 6), U4), 8, (2, 2), w_bits=(8, 4, 2, 4, 8), out=U2)
    return b.build()


def conv_groups_dilated() -> Network:
    """Two groups, dilation, one multiplier for all channels."""
    b = Builder(4)
    x = b.input((7, 7, 4), U8)
    b.conv(x, 6, padding=(2, 2, 2, 2), dilation=(2, 2), groups=2, out=S8, per_channel=False)
    return b.build()


def conv_1d() -> Network:
    """One row: no loop over it."""
    b = Builder(5)
    b.conv(b.input((1, 16, 4), U8), 4, (1, 5), padding=(0, 0, 4, 0), out=U8, relu=True)
    return b.build()


def conv_coarse() -> Network:
    """A scale so large that the sum is shifted."""
    b = Builder(6)
    b.conv(b.input((3, 3, 2), U2), 3, (1, 1), w_bits=(2,), out=U8)
    return b.build()


def depthwise() -> Network:
    """One input channel per output channel."""
    b = Builder(7)
    b.conv(b.input((6, 6, 8), U8), 8, padding=(1, 1, 1, 1), groups=8, out=U8, relu=True)
    return b.build()


def linear() -> Network:
    """4-bit weights of a vector."""
    b = Builder(8)
    b.linear(b.input((20,), U8), 10, w_bits=(4,), out=S8)
    return b.build()


def linear_tflite() -> Network:
    """The other requantization."""
    b = Builder(9, "tflite")
    b.linear(b.input((20,), S8), 10, out=S8)
    return b.build()


def add() -> Network:
    """Two scales."""
    b = Builder(10)
    b.add(b.input((3, 3, 4), U8), b.input((3, 3, 4), S8), (8, False, 0.07, 0), relu=True)
    return b.build()


def add_packed_in_place() -> Network:
    """Rows that end within a byte; the sum overwrites its first input."""
    b = Builder(11)
    x = b.requantize(b.input((2, 3, 3), U4), S4)
    b.requantize(b.add(x, x, S4), U4)
    return b.build()


def add_tflite() -> Network:
    """TensorFlow Lite's three multiplies."""
    b = Builder(12, "tflite")
    b.add(b.input((3, 3, 4), S8), b.input((3, 3, 4), (8, True, 0.09, 5)), (8, True, 0.1, 0))
    return b.build()


def concat_channels() -> Network:
    """Whole bytes per pixel."""
    b = Builder(13)
    b.concat((b.input((3, 3, 4), U8), b.input((3, 3, 2), U8)), 2)
    return b.build()


def concat_rows() -> Network:
    """One piece behind the other."""
    b = Builder(14)
    b.concat((b.input((2, 3, 3), U4), b.input((1, 3, 3), U4)), 0)
    return b.build()


def concat_packed() -> Network:
    """Pixels that meet within a byte."""
    b = Builder(15)
    b.concat((b.input((3, 3, 3), U4), b.input((3, 3, 2), U4)), 2)
    return b.build()


def avg_pool() -> Network:
    """A zero point and padding."""
    b = Builder(16)
    b.avg_pool(b.input((5, 5, 4), S8), (3, 3), (2, 2), (1, 1, 1, 1), out=S8)
    return b.build()


def avg_pool_global() -> Network:
    """The whole plane."""
    b = Builder(17)
    b.avg_pool(b.input((4, 4, 8), U8), (4, 4), out=U8)
    return b.build()


def avg_pool_tflite() -> Network:
    """Divided by what lies inside."""
    b = Builder(18, "tflite")
    b.avg_pool(b.input((5, 5, 4), S8), (3, 3), (2, 2), (1, 1, 1, 1))
    return b.build()


def max_pool() -> Network:
    """Packed codes."""
    b = Builder(19)
    b.max_pool(b.input((6, 6, 5), S4), (2, 2), (2, 2))
    return b.build()


def pad() -> Network:
    """Bytes that are all equal."""
    b = Builder(20)
    b.pad(b.input((3, 3, 4), S8), (1, 1, 2, 2))
    return b.build()


def pad_packed() -> Network:
    """A pixel whose bytes differ."""
    b = Builder(21)
    b.pad(b.input((2, 2, 3), S4), (1, 0, 0, 1))
    return b.build()


def requantize() -> Network:
    """To fewer bits."""
    b = Builder(22)
    b.requantize(b.input((3, 3, 5), U8), U2)
    return b.build()


def reshape_copy() -> Network:
    """From a caller's input to a caller's output."""
    b = Builder(23)
    b.flatten(b.input((2, 2, 4), U8))
    return b.build()


def reshape_packed() -> Network:
    """Rows of other lengths."""
    b = Builder(24)
    b.reshape(b.input((2, 3, 3), U4), (1, 2, 9))
    return b.build()


_MAKERS: tuple[Callable[[], Network], ...] = (
    *(conv_padded_zero, conv_padded_zero_point, conv_many_runs, conv_groups_dilated, conv_1d, conv_coarse, depthwise),
    *(linear, linear_tflite, add, add_packed_in_place, add_tflite, concat_channels, concat_rows, concat_packed),
    *(avg_pool, avg_pool_global, avg_pool_tflite, max_pool, pad, pad_packed, requantize, reshape_copy, reshape_packed),
)
CASES: dict[str, Callable[[], Network]] = {maker.__name__: maker for maker in _MAKERS}
"""Makers by name."""
