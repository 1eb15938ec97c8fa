# SPDX-License-Identifier: Apache-2.0
"""How codes lie in memory: rows of channels, sub-byte codes packed little-end first, each row padded to whole bytes.

One rule serves activations (a row is one pixel's channels) and weights (a row is one output channel's codes). Fast
kernels take several channels at a time, and pack some of them wider than they are: `by_groups`, `packed_as`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from plinio_deploy.network import Tensor, runs_of

ByteArray = npt.NDArray[np.uint8]
CodeArray = npt.NDArray[np.int32]

_Packing = tuple[float, tuple[tuple[int, int], ...]]
"""Bits in all, per run the bits of a weight and the groups; as far as some group."""

GROUP = 4
"""Output channels that fast kernels compute at a time."""


def pack_rows(codes: npt.NDArray[np.integer[Any]], bits: int) -> ByteArray:
    """Pack rows of codes.

    Args:
        codes: ``(R, C)``; two's complement where negative. Only the low ``bits`` of each code are kept.
        bits: 2, 4 or 8.

    Returns:
        ``(R, ceil(C * bits / 8))`` bytes; the first code lies in the least significant bits of the first byte.
    """
    rows, columns = codes.shape
    per_byte = 8 // bits
    padded = np.zeros((rows, -(-columns // per_byte) * per_byte), dtype=np.uint8)
    padded[:, :columns] = (codes.astype(np.int64) & ((1 << bits) - 1)).astype(np.uint8)
    groups = padded.reshape(rows, -1, per_byte)
    packed = np.zeros(groups.shape[:2], dtype=np.uint8)
    for position in range(per_byte):
        packed |= groups[:, :, position] << np.uint8(position * bits)
    return packed


def unpack_rows(packed: ByteArray, columns: int, bits: int, *, signed: bool) -> CodeArray:
    """The inverse of `pack_rows`: ``(R, bytes)`` to ``(R, columns)`` codes."""
    per_byte = 8 // bits
    shifts = np.arange(per_byte, dtype=np.uint8) * np.uint8(bits)
    codes = (packed[:, :, None] >> shifts) & np.uint8((1 << bits) - 1)
    flat = codes.reshape(packed.shape[0], -1)[:, :columns].astype(np.int32)
    if signed:
        sign = 1 << (bits - 1)
        flat = (flat ^ sign) - sign
    return flat


def pack(tensor: Tensor, codes: npt.NDArray[np.integer[Any]]) -> bytes:
    """Bytes of ``(N, *shape)`` codes of a tensor, samples back to back, ``N * tensor.nbytes`` in all."""
    return pack_rows(codes.reshape(-1, tensor.channels), tensor.bits).tobytes()


def unpack(tensor: Tensor, data: bytes, samples: int) -> CodeArray:
    """The inverse of `pack`.

    Raises:
        ValueError: ``data`` is not ``samples * tensor.nbytes`` long.
    """
    if len(data) != samples * tensor.nbytes:
        raise ValueError(f"{tensor.name}: {len(data)} bytes, but {samples} samples take {samples * tensor.nbytes}")
    rows = np.frombuffer(data, dtype=np.uint8).reshape(-1, tensor.row_bytes)
    codes = unpack_rows(rows, tensor.channels, tensor.bits, signed=tensor.signed)
    return codes.reshape(samples, *tensor.shape)


def by_groups(bits: Sequence[int]) -> tuple[int, ...]:
    """Bits as which the weights of each channel are packed, so that no group mixes widths: those of its widest channel.

    Weights fit wider fields as they are: that takes flash, but no channel has to move.
    """
    return tuple(max(bits[channel // GROUP * GROUP :][:GROUP]) for channel in range(len(bits)))


@cache
def packed_as(bits: tuple[int, ...], most: int) -> tuple[int, ...]:
    """The same with few runs of equal width: neighbouring groups share one until runs are, as it takes the least bits.

    Args:
        bits: of the weights of each channel.
        most: runs, at least 1.
    """
    groups = runs_of(by_groups(bits)[::GROUP])
    best: list[_Packing] = [(0, ()), *[(math.inf, ())] * len(groups)]
    for _ in range(min(most, len(groups))):
        best = [_with_another_run(best, groups, end) for end in range(len(best))]
    return tuple(width for width, count in best[-1][1] for _ in range(GROUP * count))[: len(bits)]


def _with_another_run(best: Sequence[_Packing], groups: Sequence[tuple[int, int, int]], end: int) -> _Packing:
    """The least for the groups before ``end``, where ``best`` has it with one run fewer, or as many."""
    found, width, count = best[end], 0, 0
    for start in reversed(range(end)):
        width, count = max(width, groups[start][0]), count + groups[start][2]
        total = best[start][0] + width * count
        if total < found[0]:
            found = (total, (*best[start][1], (width, count)))
    return found
