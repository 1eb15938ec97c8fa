# SPDX-License-Identifier: Apache-2.0
"""Convolutions and matrix products as one: pixels times channels, the dot products of patches with rows of weights.

What the kernels for RV32IM and for its PULP extension have in common: which layers they take, how patches are gathered,
how many pixels and channels make a block, and the constants of requantization.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from plinio_deploy.codegen import pack
from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Site
from plinio_deploy.codegen.pack import Array, Run
from plinio_deploy.codegen.window import Window, window
from plinio_deploy.network import Conv, Hi32, Int8Array, Linear
from plinio_deploy.packing import packed_as

TAPS = 4
"""Taps per turn of an inner loop; patches are padded to a multiple, their weights with zeros."""

MAX_OFFSET = 2047
"""Greatest offset of a load or store."""

MAX_RUNS = 4
"""Most runs of a layer, each of which has its own code; where widths change more often, some channels are packed wider
than they are."""


@dataclass(frozen=True, eq=False)
class Gemm:
    """A layer as a matrix product.

    Attributes:
        site: a dense convolution or a linear layer.
        op: its op.
    """

    site: Site
    op: Conv | Linear

    @cached_property
    def pixels(self) -> int:
        """Output pixels."""
        return self.site.output.elements // self.site.output.channels

    @property
    def depth(self) -> int:
        """Taps of one dot product."""
        return self.op.weights.codes.size // self.op.weights.out_channels

    @property
    def padded_depth(self) -> int:
        """`depth`, rounded up to whole turns of the inner loop."""
        return -(-self.depth // TAPS) * TAPS

    @property
    def channels(self) -> int:
        """Output channels."""
        return self.op.weights.out_channels

    @cached_property
    def window(self) -> Window | None:
        """The window of a convolution; every tap is visited."""
        if isinstance(self.op, Linear):
            return None
        return window(self.op, self.site.inputs[0], self.site.output, all_taps=True)

    @cached_property
    def pointwise(self) -> bool:
        """Whether a patch is one input pixel, and patches follow each other as pixels do."""
        if isinstance(self.op, Linear):
            return True
        return self.op.kernel == (1, 1) and self.op.stride == (1, 1) and not any(self.op.padding)

    @cached_property
    def direct(self) -> bool:
        """Whether patches are read where they lie in the input: bytes, and no tap too many."""
        return self.pointwise and self.site.inputs[0].bits == 8 and self.depth % TAPS == 0

    @property
    def pitch(self) -> int:
        """Bytes from one patch to the next."""
        return self.depth if self.direct else self.padded_depth

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """Runs of channels that are packed as of one width."""
        weights = self.op.weights
        return pack.runs(weights, packed_as(weights.bits, MAX_RUNS) if len(weights.runs()) > MAX_RUNS else ())

    def rows(self, run: Run) -> Int8Array:
        """Weights of a run, ``(channels, padded_depth)``."""
        rows = np.zeros((run.end - run.first, self.padded_depth), dtype=np.int8)
        rows[:, : self.depth] = self.op.weights.codes[run.first : run.end].reshape(len(rows), -1)
        return rows

    @property
    def packed_output(self) -> bool:
        """Whether codes are stored as bytes first and packed then."""
        return self.site.output.bits < 8

    @property
    def tile_bytes(self) -> int:
        """Scratch per pixel for codes that are yet to be packed."""
        return self.channels if self.packed_output else 0

    def variables(self, emitter: Emitter) -> Mapping[str, object]:
        """What the templates of all these kernels read."""
        requant, source = self.op.requant, self.site.inputs[0]
        assert isinstance(requant, Hi32)
        low, high = requant.clamp
        return {
            "gemm": self,
            "win": self.window,
            "signed": source.signed,
            "zero_point": source.zero_point,
            "shift_in": self.site.output.zero_point - low,
            "low": low,
            "span": high - low,
            "left": requant.shift,
            "bm": emitter.array("_bm"),
        }


def requant_array(op: Conv | Linear) -> Array:
    """Bias and multiplier of each channel, side by side."""
    values = np.empty((op.weights.out_channels, 2), dtype=np.int64)
    values[:, 0] = op.bias
    values[:, 1] = op.requant.multiplier
    comment = "per channel: bias - zero point * sum of weights and the rounding half; multiplier"
    return pack.int32_array("_bm", values.ravel().tolist(), comment)


def gemm_of(site: Site) -> Gemm | None:
    """The layer as a matrix product, if the kernels here can compute it: one group, `Hi32`."""
    op = site.op
    if not isinstance(op, Conv | Linear) or (isinstance(op, Conv) and op.groups > 1):
        return None
    if not isinstance(op.requant, Hi32):
        return None
    if op.weights.out_channels > MAX_OFFSET:
        return None  # the codes of a second pixel would be out of reach
    return Gemm(site, op)


def block_pixels(gemm: Gemm, most: int) -> int:
    """Pixels of a block: the last block overlaps the one before it, so no layer may have fewer.

    Args:
        gemm: the layer.
        most: a power of two.
    """
    count = most
    reach = max(gemm.pitch, gemm.site.output.channels)
    while count > 1 and (count > gemm.pixels or (count - 1) * reach + 2 * TAPS > MAX_OFFSET):
        count //= 2
    return count
