# SPDX-License-Identifier: Apache-2.0
"""Winograd's method for 3x3 convolutions, F(2x2, 3x3), in exact integers (Lavin and Gray, 2016, section 4.1).

Two by two outputs take 16 products per input channel instead of 36::

    Y = A^T [(G g G^T) * (B^T d B)] A

    B^T = | 1  0 -1  0 |     2 G = | 2  0  0 |     A^T = | 1  1  1  0 |
          | 0  1  1  0 |           | 1  1  1 |           | 0  1 -1  1 |
          | 0 -1  1  0 |           | 1 -1  1 |
          | 0 -1  0  1 |           | 0  0  2 |

(the last row of ``B^T`` and the last column of ``A^T`` have the opposite sign of the usual ones, so that every sum of
products is added). Nothing is rounded: weights are transformed with ``2 G``, so that sums hold ``4 Y``, and the 4 is
taken away by the shift behind the multiplication of the requantization (`codegen/dsp/__init__.py` says why that is
exact). Every sum is linear in what went in, so intermediate ones may wrap around modulo 2^32: ``4 Y`` comes out right
as long as it fits 32 bits itself, which `fits` proves from the weights.

Halves are 16 bits wide: ``B^T d B`` of codes in ``[0, 255]`` or ``[-128, 127]`` lies within ``[-1020, 1020]``, and
``(2 G) g (2 G)^T`` of 8-bit weights within ``[-1152, 1152]``.

A patch is two tiles side by side: 2 x 4 outputs, which read 4 x 6 inputs. Its products take four output channels at a
time. Channels lie in halves of words as bytes of a word are spread: (0, 2) and (1, 3) of every four.

Weights are transformed when the code is generated (`weights`) or, four output channels at a time for as many patches as
scratch holds, while it runs (`filters`). Then those of fewer than 8 bits are taken to the upper end of a byte, so their
sums are larger by as many bits more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from plinio_deploy.codegen.dsp.blocks import CHANNELS, IntArray, Sums, Variant
from plinio_deploy.codegen.pack import Array
from plinio_deploy.fixedpoint import wrap_int32
from plinio_deploy.network import Conv

FOUR = 2
"""Bits by which sums of transformed weights are larger: they hold ``4 Y``."""

ORDER = (1, 2, 0, 3)
"""In which order the micro-kernels take the rows of ``B^T``, and its columns within each."""

ROWS, COLUMNS = 2, 4
"""Outputs of a patch."""

_G = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]])


@dataclass(frozen=True)
class Patch:
    """The transformed inputs of one patch: ``[16 places][pairs][2 tiles]`` words of two halves.

    Attributes:
        channels: of the input.
        signed: whether codes are two's complement.
    """

    channels: int
    signed: bool

    @property
    def pixel_bytes(self) -> int:
        """From a pixel of the input, or of a copy of a part of it, to the next: whole words."""
        return -(-self.channels // 4) * 4

    @property
    def pairs(self) -> int:
        """Words per place and tile, or per place and output channel."""
        return self.pixel_bytes // 2

    @property
    def place_bytes(self) -> int:
        """From a place of the transformed patch to the next."""
        return 8 * self.pairs

    @property
    def nbytes(self) -> int:
        """Of a transformed patch."""
        return 16 * self.place_bytes

    @property
    def block_words(self) -> int:
        """Words of the transformed weights of four output channels."""
        return 16 * self.pairs * CHANNELS

    @property
    def filter_bytes(self) -> int:
        """From a place of the transformed weights of four output channels to the next."""
        return 4 * self.pairs * CHANNELS

    @property
    def window_bytes(self) -> int:
        """Of a copy of what a patch reads."""
        return (ROWS + 2) * (COLUMNS + 2) * self.pixel_bytes


@dataclass(frozen=True)
class Steps:
    """Bytes from an output to the next.

    Attributes:
        row: to that below.
        column: to that beside it; the second tile is two of them away.
    """

    row: int
    column: int

    @property
    def reach(self) -> int:
        """To the last output of a patch."""
        return (ROWS - 1) * self.row + (COLUMNS - 1) * self.column


def fits(found: Sums, scale: int) -> bool:
    """Whether sums, ``scale`` bits larger, are int32."""
    return int(found.low.min()) << scale >= -(1 << 31) and int(found.high.max()) << scale < 1 << 31


def transformed(op: Conv) -> IntArray:
    """``(2 G) g (2 G)^T`` of every filter: ``(C_out, 4, 4, C_in)``."""
    return np.asarray(np.einsum("ua,oabc,vb->ouvc", _G, op.weights.codes.astype(np.int64), _G))


def _pairs(patch: Patch) -> list[tuple[int, int]]:
    """The channels in the low and the high half of each word; some may not exist."""
    return [(first + i, first + i + 2) for first in range(0, patch.pixel_bytes, 4) for i in (0, 1)]


def weights(op: Conv, patch: Patch) -> Array:
    """Per four output channels and place, per pair of input channels one word for each of the four."""
    flat = transformed(op)
    missing = -flat.shape[0] % CHANNELS, patch.pixel_bytes - flat.shape[3]
    flat = np.pad(flat, ((0, missing[0]), (0, 0), (0, 0), (0, missing[1])))
    low, high = (flat[..., [pair[half] for pair in _pairs(patch)]] & 0xFFFF for half in (0, 1))
    words = (low | high << 16)[:, ORDER][:, :, ORDER].reshape(-1, CHANNELS, 16, patch.pairs)
    values = tuple(int(word) for word in words.transpose(0, 2, 3, 1).ravel())
    return Array("_w", "uint32_t", values, "per four channels 16 transformed weights each, two input channels a word")


@dataclass(frozen=True)
class Filters:
    """Weights as they are, to be transformed later: ``[groups][4 output channels][9 taps]`` words per block.

    Attributes:
        bits: of each weight; bytes of a word hold four input channels, and each byte those of as many fours as fit.
        groups: words per output channel and tap.
    """

    bits: int
    groups: int

    @property
    def digits(self) -> int:
        """Fours of input channels in a word."""
        return 8 // self.bits

    @property
    def scale(self) -> int:
        """Bits by which sums are larger: 4, and the place in a byte."""
        return FOUR + 8 - self.bits

    @property
    def block_words(self) -> int:
        """Words of four output channels."""
        return self.groups * CHANNELS * 9


def filters_of(op: Conv) -> Filters:
    """How the weights of a layer are kept: as bytes where fewer bits do not come out even."""
    channels = op.weights.codes.shape[3]
    bits = max(op.weights.bits)
    if channels % (32 // bits):
        bits = 8
    return Filters(bits, -(-channels * bits // 32))


def filters(op: Conv, found: Filters) -> Array:
    """Weights in the order in which they are transformed."""
    codes = op.weights.codes.astype(np.int64)
    span = found.groups * found.digits * 4
    missing = -codes.shape[0] % CHANNELS, span - codes.shape[3]
    codes = np.pad(codes, ((0, missing[0]), (0, 0), (0, 0), (0, missing[1])))
    digits = codes.reshape(-1, CHANNELS, 9, found.groups, found.digits, 4).transpose(0, 3, 1, 2, 4, 5)
    shifts = found.bits * np.arange(found.digits)[:, None] + 8 * np.arange(4)
    words = ((digits & (1 << found.bits) - 1) << shifts).sum(axis=(-2, -1)).ravel()
    comment = f"per four channels and {4 * found.digits} of the input nine weights each, {found.bits} bits"
    return Array("_w", "uint32_t", tuple(int(word) for word in words), comment)


def variant(scale: int) -> Variant:
    """What accumulators hold whose sums are larger by some bits."""
    return Variant("winograd", 16, (scale, scale, scale, scale), nested=False, offsets=(0, 0, 0, 0), words=4)


def constants(op: Conv, found: Sums, scale: int) -> Array:
    """Per block of four output channels their biases, ``scale`` bits larger, and multipliers."""
    values: list[int] = []
    channels = op.weights.out_channels
    for first in range(0, channels, CHANNELS):
        block = range(first, min(first + CHANNELS, channels))
        missing = [0] * (CHANNELS - len(block))
        values += wrap_int32(op.bias[[*block]].astype(np.int64) << scale).tolist() + missing
        values += [int(found.multiplier[c]) for c in block] + missing
    return Array("_q", "int32_t", tuple(values), "per block of four channels: biases, scaled, and multipliers")
