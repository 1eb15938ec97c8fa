# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolutions on cores with the DSP extension: two pixels by four channels, rows in a ring of scratch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from plinio_deploy.codegen.dsp import blocks, depthwise, layer
from plinio_deploy.codegen.dsp.blocks import CHANNELS
from plinio_deploy.codegen.dsp.depthwise import REACH, Taps
from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Kernel, Site, same_layout
from plinio_deploy.codegen.liveness import round_up
from plinio_deploy.codegen.pack import Array
from plinio_deploy.codegen.window import window
from plinio_deploy.network import Conv, Hi32

MAX_TAPS = 49
"""Most taps: they are unrolled."""


class DepthwiseDsp(Kernel):
    """Each output channel has its own input channel."""

    name: ClassVar[str] = "depthwise_dsp"
    template: ClassVar[str | None] = "ops/depthwise_dsp.c.j2"
    parts: ClassVar[str | None] = "parts/dsp_depthwise.c.j2"
    shares: ClassVar[bool] = True

    def handles(self, site: Site) -> bool:
        """Depthwise convolutions of our flavour without a channel multiplier."""
        op = site.op
        if "dsp" not in site.isa or not isinstance(op, Conv) or not op.is_depthwise:
            return False
        if op.weights.out_channels != op.groups or not isinstance(op.requant, Hi32):
            return False
        taps = _taps(site)
        return taps.count <= MAX_TAPS and max(taps.columns[-1] + taps.step, site.output.row_bytes) <= REACH

    def cost(self, site: Site) -> float:
        """Per pair of pixels and block: 17 instructions per tap, and requantization; per row its copy."""
        op = site.op
        assert isinstance(op, Conv)
        taps = _taps(site)
        height, width, channels = site.output.shape
        pairs = height * ((width + 1) // 2)
        copy = site.inputs[0].elements * (1.3 if site.inputs[0].bits == 8 else 12.0)
        block = 17.0 * taps.count + 3.0 * taps.rows + 42.0
        return pairs * (-(-channels // CHANNELS) * block + 40.0) + copy

    def scratch_bytes(self, site: Site) -> int:
        """The ring of rows, and weights of fewer than 8 bits as bytes."""
        return _spread_at(site) + (4 * _words(site) if _bits(site) < 8 else 0)

    def in_place(self, site: Site) -> tuple[int, ...]:
        """The input where no output row reaches a place whose input row is yet to be read."""
        op = site.op
        assert isinstance(op, Conv)
        return (0,) if op.stride == (1, 1) and same_layout(site.inputs[0], site.output) else ()

    def arrays(self, site: Site) -> tuple[Array, ...]:
        """Packed weights and constants."""
        assert isinstance(site.op, Conv)
        return depthwise.arrays(site.op, blocks.sums(site.op, site.inputs[0]))

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """See ``templates/ops/depthwise_dsp.c.j2``."""
        op, source = site.op, site.inputs[0]
        assert isinstance(op, Conv)
        taps = _taps(site)
        bits = _bits(site)
        found = blocks.sums(op, source)
        return {
            "taps": taps,
            "asm_products": depthwise.products(taps, layer.output(site, found)),
            "shift": found.shift,
            "clamp": op.requant.clamp,
            "win": window(op, source, site.output, all_taps=True),
            "ring": _ring(site),
            "depth": op.dilation[0] * (op.kernel[0] - 1) + 1,
            "fill": source.zero_point & 255,
            "unpacked": bits if bits < 8 else 0,
            "words": _words(site),
            "spread_at": _spread_at(site),
            "weights": emitter.array("_w"),
            "constants": emitter.array("_q"),
        }


def _taps(site: Site) -> Taps:
    op, source = site.op, site.inputs[0]
    assert isinstance(op, Conv)
    columns = tuple(kx * op.dilation[1] * source.channels for kx in range(op.kernel[1]))
    step = op.stride[1] * source.channels if site.output.shape[1] > 1 else 0
    # A single column is computed twice: both pixels are the same one.
    return Taps(op.kernel[0], columns, step, source.channels, source.signed, site.output.row_bytes if step else 0)


def _bits(site: Site) -> int:
    assert isinstance(site.op, Conv)
    return max(site.op.weights.bits)


def _words(site: Site) -> int:
    """Blocks times taps."""
    return -(-site.output.channels // CHANNELS) * _taps(site).count


def _ring(site: Site) -> int:
    """Bytes of a row, padding included."""
    op = site.op
    assert isinstance(op, Conv)
    return (site.inputs[0].shape[1] + op.padding[2] + op.padding[3]) * site.inputs[0].channels


def _spread_at(site: Site) -> int:
    """Bytes of the ring; the last block of channels may read beyond the last row."""
    op = site.op
    assert isinstance(op, Conv)
    return round_up(_ring(site) * (op.dilation[0] * (op.kernel[0] - 1) + 1) + CHANNELS, 4)


KERNELS = (DepthwiseDsp(),)
