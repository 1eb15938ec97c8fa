# SPDX-License-Identifier: Apache-2.0
"""Dense convolutions on cores with the DSP extension: two pixels by four channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from plinio_deploy.codegen.dsp import layer
from plinio_deploy.codegen.dsp.columns import Columns, columns
from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Kernel, Site
from plinio_deploy.codegen.liveness import round_up
from plinio_deploy.codegen.pack import Array
from plinio_deploy.codegen.window import window
from plinio_deploy.network import Conv

PER_SEGMENT = 30.0
"""Instructions per segment and pair of pixels besides its codes: addresses, calls."""


class ConvDsp(Kernel):
    """Patches of two pixels as 16-bit halves in scratch, then products with all channels.

    Attributes:
        wide: whether weights of 8 bits are packed with half as much flash again for fewer instructions.
    """

    name: ClassVar[str] = "conv_dsp"
    template: ClassVar[str | None] = "ops/conv_dsp.c.j2"
    parts: ClassVar[str | None] = "parts/dsp_products.c.j2"
    shares: ClassVar[bool] = True
    wide: ClassVar[bool] = False

    def handles(self, site: Site) -> bool:
        """Convolutions of one group, of our flavour, whose accumulators can be packed."""
        return isinstance(site.op, Conv) and site.op.groups == 1 and layer.fits(site, wide=self.wide)

    def cost(self, site: Site) -> float:
        """Per pair of pixels: the patch, then the products and requantization of each block."""
        op = site.op
        assert isinstance(op, Conv)
        layout = columns(op, site.inputs[0])
        pairs = (site.output.elements // site.output.channels + 1) // 2
        patch = layout.segments * PER_SEGMENT + 4.5 * layout.used
        return pairs * (patch + layer.products_cost(site, layout, 2, wide=self.wide))

    def scratch_bytes(self, site: Site) -> int:
        """A patch of two pixels and their sums, segments of padding, and room for a pixel that nobody wants."""
        layout = columns(_conv(site), site.inputs[0])
        return _spare(site, layout) + (2 * site.output.row_bytes if _single(site) else 0)

    def arrays(self, site: Site) -> tuple[Array, ...]:
        """Packed weights and constants."""
        return layer.arrays(site, columns(_conv(site), site.inputs[0]), 2, wide=self.wide)

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """See ``templates/ops/conv_dsp.c.j2``."""
        op, source = _conv(site), site.inputs[0]
        layout = columns(op, source)
        win = window(op, source, site.output, all_taps=True)
        height, width = op.kernel
        return {
            **layer.variables(site, layout, 2, emitter, wide=self.wide),
            "win": win,
            "window": win if win.clipped else None,
            "flat": op.kernel == (1, 1) and op.stride == (1, 1) and not win.clipped,
            "steps": (height, width // layout.taps),
            "pixels_out": site.output.elements // site.output.channels,
            "edges": 8 * layout.words + 8,
            "edge_bytes": round_up(layout.segment_bytes, 4),
            "dummy": _spare(site, layout),
            "fill": _lanes(site),
        }


def _conv(site: Site) -> Conv:
    assert isinstance(site.op, Conv)
    return site.op


def _single(site: Site) -> bool:
    return site.output.elements == site.output.channels


def _spare(site: Site, layout: Columns) -> int:
    """Bytes of the patch and the padding."""
    win = window(_conv(site), site.inputs[0], site.output)
    return 8 * layout.words + 8 + (3 * round_up(layout.segment_bytes, 4) if win.clipped else 0)


def _lanes(site: Site) -> int:
    """A byte whose every lane holds the zero point."""
    source = site.inputs[0]
    lane = source.zero_point & ((1 << source.bits) - 1)
    return sum(lane << (source.bits * i) for i in range(8 // source.bits))


class ConvWideDsp(ConvDsp):
    """Weights lie in flash as they are multiplied, three words for four channels and two codes."""

    name: ClassVar[str] = "conv_wide_dsp"
    wide: ClassVar[bool] = True
    on_request: ClassVar[bool] = True


KERNELS = (ConvDsp(), ConvWideDsp())
