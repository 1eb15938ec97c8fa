# SPDX-License-Identifier: Apache-2.0
"""Constant data of the plain kernels: weights as rows of bytes, biases and multipliers as they are.

One row per output channel, in channel order: the channel's codes in ``(K_h, K_w, C_in / groups)`` order, little-end
first, padded to whole bytes (`plinio_deploy.packing`). Channels of different widths follow each other without gaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plinio_deploy.network import Int8Array, Tensor, Weights, runs_of
from plinio_deploy.packing import pack_rows

CTYPE_BYTES = {"int8_t": 1, "uint8_t": 1, "int16_t": 2, "uint16_t": 2, "int32_t": 4, "uint32_t": 4}


@dataclass(frozen=True)
class Array:
    """A constant array of the generated project.

    Attributes:
        suffix: what follows the layer's symbol, such as ``_w``.
        ctype: element type, a key of `CTYPE_BYTES`.
        values: the elements.
        comment: what it holds, in what order; one line.
    """

    suffix: str
    ctype: str
    values: tuple[int, ...]
    comment: str

    @property
    def nbytes(self) -> int:
        """Bytes in flash."""
        return len(self.values) * CTYPE_BYTES[self.ctype]


@dataclass(frozen=True)
class Run:
    """Neighbouring output channels of one width: ``first <= channel < end``, each ``row_bytes`` long."""

    bits: int
    first: int
    end: int
    row_bytes: int


def row_bytes(weights: Weights, bits: int) -> int:
    """Bytes of one output channel's codes at a width."""
    per_channel = weights.codes.size // weights.out_channels
    return (per_channel * bits + 7) // 8


def runs(weights: Weights, widths: Sequence[int] = ()) -> tuple[Run, ...]:
    """The maximal runs of neighbouring channels of one width.

    Args:
        weights: of a layer.
        widths: bits as which each channel is packed, if not its own.
    """
    found = runs_of(widths or weights.bits)
    return tuple(Run(bits, first, first + count, row_bytes(weights, bits)) for bits, first, count in found)


def weight_array(weights: Weights, order: str) -> Array:
    """All rows of a layer; ``int8_t`` if every channel has 8 bits, else raw bytes.

    Args:
        weights: of any number of axes.
        order: the axes of one row, for the comment.
    """
    flat: Int8Array = weights.codes.reshape(weights.out_channels, -1)
    widths = "/".join(str(bits) for bits in sorted(set(weights.bits), reverse=True))
    comment = f"{weights.out_channels} rows of {order}, {widths} bits"
    if set(weights.bits) == {8}:
        return Array("_w", "int8_t", tuple(int(code) for code in flat.ravel()), comment)
    data = bytearray()
    for run in runs(weights):
        data += pack_rows(flat[run.first : run.end], run.bits).tobytes()
    return Array("_w", "uint8_t", tuple(data), f"{comment}, little-end first, rows padded to whole bytes")


def int32_array(suffix: str, values: Sequence[int], comment: str) -> Array:
    """Biases, multipliers and the like."""
    return Array(suffix, "int32_t", tuple(int(value) for value in values), comment)


MOST_UNIT = 1 << 14
"""Greatest unit of biases: a signed factor of 16 bits."""


def unit_of(values: Sequence[int]) -> int | None:
    """The least power of two in units of which all values are int16; ``None`` if there is none up to `MOST_UNIT`."""
    unit, low, high = 1, min(values), max(values)
    while unit < MOST_UNIT and (low < -unit << 15 or high >= unit << 15):
        unit *= 2
    fit = -unit << 15 <= low and high < unit << 15
    return unit if fit and not any(value % unit for value in values) else None


def pixel_of(tensor: Tensor, code: int) -> bytes:
    """One packed row of channels that all hold ``code``, ``tensor.row_bytes`` long, its padding bits 0."""
    per_byte = 8 // tensor.bits
    lane = code & ((1 << tensor.bits) - 1)
    full = sum(lane << (position * tensor.bits) for position in range(per_byte))
    rest = tensor.channels % per_byte
    data = [full] * (tensor.channels // per_byte)
    if rest:
        data.append(full & ((1 << (rest * tensor.bits)) - 1))
    return bytes(data)
