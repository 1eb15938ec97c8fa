# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolution for Cortex-M0, M0+ and M3: rows with their padding in a ring, one pixel by all channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from plinio_deploy.codegen import thumb, thumb_depthwise
from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Kernel, Site
from plinio_deploy.codegen.pack import Array
from plinio_deploy.codegen.thumb import Lines
from plinio_deploy.codegen.thumb_depthwise import MAX_COLUMNS, MAX_ROWS, Window
from plinio_deploy.codegen.window import window
from plinio_deploy.network import Conv


class DepthwiseThumb1(Kernel):
    """One output channel per input channel, bytes in and out; weights of any width are stored as bytes.

    Attributes:
        feature: the instruction set.
        guard: what a compiler defines that takes its assembly.
        offset: what is added to weights.
        tap, code: instructions per tap and per code, less what the estimates of plain kernels leave out: the library's
            product of 64 bits on a Cortex-M0.
    """

    name: ClassVar[str] = "depthwise_thumb1"
    template: ClassVar[str | None] = "ops/depthwise_thumb.c.j2"
    parts: ClassVar[str | None] = "parts/thumb_depthwise.c.j2"
    feature: ClassVar[str] = "thumb1"
    guard: ClassVar[str] = "__thumb__"
    offset: ClassVar[int] = 128
    tap: ClassVar[float] = 5.0
    code: ClassVar[float] = 25.0

    def handles(self, site: Site) -> bool:
        """Small windows."""
        op = site.op
        if self.feature not in site.isa or not isinstance(op, Conv) or not op.is_depthwise:
            return False
        if op.weights.out_channels != op.groups or 2 * op.dilation[1] * op.groups > 4095:
            return False
        small = op.kernel[0] <= MAX_ROWS and op.kernel[1] <= MAX_COLUMNS
        eight = (site.inputs[0].bits, site.output.bits) == (8, 8)
        return small and eight and thumb.can_multiply(op, site.inputs[0], site.output)

    def cost(self, site: Site) -> float:
        """Work per tap and per code, and copying rows."""
        op = site.op
        assert isinstance(op, Conv)
        taps = op.kernel[0] * op.kernel[1]
        return site.output.elements * (self.tap * taps + self.code) + 7.0 * site.inputs[0].elements + 100.0

    def scratch_bytes(self, site: Site) -> int:
        """The ring."""
        rows, row_bytes = _ring(site)
        return 0 if _direct(site) else rows * row_bytes

    def arrays(self, site: Site) -> tuple[Array, ...]:
        """Weights, biases, multipliers."""
        assert isinstance(site.op, Conv)
        return thumb_depthwise.arrays(site.op, _window(site), self.offset)

    def lines(self, what: Window) -> Lines:
        """The assembly."""
        return thumb_depthwise.least(what)

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """See ``templates/ops/depthwise_thumb.c.j2``."""
        op, source = site.op, site.inputs[0]
        assert isinstance(op, Conv)
        win, what = window(op, source, site.output), _window(site)
        rows, row_bytes = _ring(site)
        return {
            "win": win,
            "what": what,
            "guard": self.guard,
            "offset": self.offset,
            "lines": self.lines(what),
            "direct": _direct(site),
            "rows": rows,
            "row_bytes": row_bytes,
            "columns": min(win.x.input, row_bytes // op.groups - win.x.before),
            "fill": source.zero_point + (128 if source.signed else 0),
            "weights": emitter.array("_w"),
            "constants": emitter.array("_q"),
        }


class DepthwiseThumb2(DepthwiseThumb1):
    """The same for Cortex-M3."""

    name: ClassVar[str] = "depthwise_thumb2"
    feature: ClassVar[str] = "thumb2"
    guard: ClassVar[str] = "__thumb2__"
    offset: ClassVar[int] = 0
    tap: ClassVar[float] = 3.0
    code: ClassVar[float] = 16.0

    def lines(self, what: Window) -> Lines:
        """The assembly."""
        return thumb_depthwise.larger(what)


def _window(site: Site) -> Window:
    op, source = site.op, site.inputs[0]
    assert isinstance(op, Conv)
    output = thumb.products_of(op, source, site.output, 1)
    return Window(op.kernel, op.dilation[1] * op.groups, op.groups, source.signed, output)


def _ring(site: Site) -> tuple[int, int]:
    """Rows of the ring and bytes of each."""
    op = site.op
    assert isinstance(op, Conv)
    win = window(op, site.inputs[0], site.output)
    return win.y.spread, win.x.reach * op.groups


def _direct(site: Site) -> bool:
    """Whether rows are read where they lie: no padding, unsigned codes."""
    op = site.op
    assert isinstance(op, Conv)
    return not window(op, site.inputs[0], site.output).clipped and not site.inputs[0].signed


KERNELS = (DepthwiseThumb1(), DepthwiseThumb2())
