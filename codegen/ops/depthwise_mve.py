# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolution with the vector extension: rows with their padding in a ring, two pixels by eight channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from plinio_deploy.codegen import mve_depthwise
from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Kernel, Site
from plinio_deploy.codegen.mve_depthwise import CHANNELS, MAX_ROWS, Window
from plinio_deploy.codegen.pack import Array
from plinio_deploy.codegen.window import window
from plinio_deploy.network import Conv, Hi32

MAX_TAPS = 36
"""Taps are written one after another."""


class DepthwiseMve(Kernel):
    """One output channel per input channel, bytes in and out; weights of any width are stored as bytes."""

    name: ClassVar[str] = "depthwise_mve"
    template: ClassVar[str | None] = "ops/depthwise_mve.c.j2"
    parts: ClassVar[str | None] = "parts/mve_depthwise.c.j2"

    def handles(self, site: Site) -> bool:
        """Windows of few rows."""
        op, source = site.op, site.inputs[0]
        if "mve" not in site.isa or not isinstance(op, Conv) or not op.is_depthwise:
            return False
        if op.weights.out_channels != op.groups or (source.bits, site.output.bits) != (8, 8):
            return False
        if (op.kernel[1] * op.dilation[1] + op.stride[1]) * op.groups >= 1 << 16:
            return False  # offsets of 16 bits
        return isinstance(op.requant, Hi32) and op.kernel[0] <= MAX_ROWS and op.kernel[0] * op.kernel[1] <= MAX_TAPS

    def cost(self, site: Site) -> float:
        """Eleven instructions per tap, two pixels and eight channels; requantization; copying rows."""
        op = site.op
        assert isinstance(op, Conv)
        taps = op.kernel[0] * op.kernel[1]
        outputs = site.output.elements * (-(-op.groups // CHANNELS) * CHANNELS / op.groups)
        copied = 0.3 * site.inputs[0].elements + 20.0 * site.inputs[0].shape[0]
        return outputs * (0.8 * taps + 1.7) + 15.0 * site.output.elements / op.groups + copied + 60.0

    def scratch_bytes(self, site: Site) -> int:
        """The ring."""
        rows, row_bytes = _ring(site)
        return 0 if _direct(site) else rows * row_bytes

    def arrays(self, site: Site) -> tuple[Array, ...]:
        """Weights, biases, multipliers."""
        assert isinstance(site.op, Conv)
        return mve_depthwise.arrays(site.op)

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """See ``templates/ops/depthwise_mve.c.j2``."""
        op, source, output = site.op, site.inputs[0], site.output
        assert isinstance(op, Conv)
        assert isinstance(op.requant, Hi32)
        low, high = op.requant.clamp
        win = window(op, source, output)
        what = Window(
            taps=op.kernel,
            dilation=op.dilation[1],
            stride=op.stride[1],
            channels=op.groups,
            source_signed=source.signed,
            shift=op.requant.shift,
            signed=output.signed,
            zero_point=output.zero_point,
            low=low,
            high=high,
        )
        pixels = 2 if win.x.output > 1 else 1
        rows, row_bytes = _ring(site)
        return {
            "win": win,
            "what": what,
            "pixels": pixels,
            "direct": _direct(site),
            "rows": rows,
            "row_bytes": row_bytes,
            "columns": min(win.x.input, (row_bytes - CHANNELS) // op.groups - win.x.before),
            "lines": mve_depthwise.products(what, pixels),
            "weights": emitter.array("_w"),
            "constants": emitter.array("_q"),
        }


def _ring(site: Site) -> tuple[int, int]:
    """Rows of the ring and bytes of each, with what a vector reads beyond the last channel."""
    op = site.op
    assert isinstance(op, Conv)
    win = window(op, site.inputs[0], site.output)
    return win.y.spread, win.x.reach * op.groups + CHANNELS


def _direct(site: Site) -> bool:
    """Whether rows are read where they lie: no padding, and vectors end where a pixel does."""
    op = site.op
    assert isinstance(op, Conv)
    return not window(op, site.inputs[0], site.output).clipped and op.groups % CHANNELS == 0


KERNELS = (DepthwiseMve(),)
