# SPDX-License-Identifier: Apache-2.0
"""Which channels of a layer a kernel computes at which width: some pack neighbours of several widths like the widest.

The rules are those of `codegen/dsp/blocks.py`, `codegen/rv32/gemm.py` and `codegen/runs.py`, which this package does
not import; a test holds them against those.
"""

from __future__ import annotations

from collections.abc import Sequence

from plinio_deploy.network import Weights, runs_of
from plinio_deploy.packing import by_groups, packed_as

MOST_RUNS = {"_dsp": 12, "gemm_": 4, "_mve": 16, "_thumb": 16}
"""Runs of equal width that kernels of a kind have; with more ``_dsp`` packs all channels like the widest."""

PRODUCTS = ("conv_mve", "linear_mve", "conv_thumb1", "linear_thumb1", "conv_thumb2", "linear_thumb2")
"""Kernels of the kinds ``_mve`` and ``_thumb`` with runs; those of depthwise layers have none."""

LEAST = -128
"""Weight of 8 bits that leaves no room for a borrow."""


def packed(kernel: str | None, bits: Sequence[int]) -> tuple[int, ...]:
    """Bits as which each channel is packed.

    Args:
        kernel: that executes the layer; ``None``: each channel as it is.
        bits: of the weights of each channel.
    """
    if kernel is None:
        return tuple(bits)
    if kernel.endswith("_dsp"):
        return _by_fours(bits, MOST_RUNS["_dsp"])
    if kernel.startswith("gemm_") and len(runs_of(bits)) > MOST_RUNS["gemm_"]:
        return packed_as(tuple(bits), MOST_RUNS["gemm_"])
    if kernel in PRODUCTS:
        return packed_as(tuple(bits), MOST_RUNS["_mve" if kernel.endswith("_mve") else "_thumb"])
    return tuple(bits)


def _by_fours(bits: Sequence[int], most: int) -> tuple[int, ...]:
    found = by_groups(bits)
    return found if len(runs_of(found)) <= most else (max(bits),) * len(bits)


def has_digits(weights: Weights, widths: Sequence[int]) -> bool:
    """Whether weights packed as 8 bits hold a -128 above a negative one, see `geometry.Geometry.digits`.

    Args:
        weights: of a layer, ``(C_out, ...)``.
        widths: bits as which each channel is packed.
    """
    flat = weights.codes.reshape(len(widths), -1)
    pairs = (first for first in range(0, len(widths) - 1, 2) if widths[first] == 8)
    return any(bool(((flat[first] < 0) & (flat[first + 1] == LEAST)).any()) for first in pairs)
