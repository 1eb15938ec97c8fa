# SPDX-License-Identifier: Apache-2.0
"""How codes lie in memory: rows of channels, sub-byte codes packed little-end first, each row padded to whole bytes.

One rule serves activations (a row is one pixel's channels) and weights (a row is one output channel's codes).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from plinio_deploy.network import Tensor

ByteArray = npt.NDArray[np.uint8]
CodeArray = npt.NDArray[np.int32]


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
