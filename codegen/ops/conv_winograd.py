# SPDX-License-Identifier: Apache-2.0
"""Convolutions 3 x 3 by Winograd's method on cores with the DSP extension: fewer products, more flash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from plinio_deploy.codegen.dsp import blocks, layer, winograd, winograd_assembly
from plinio_deploy.codegen.dsp.blocks import CHANNELS
from plinio_deploy.codegen.dsp.winograd import COLUMNS, ROWS, WINOGRAD, Patch, Steps
from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Kernel, Site
from plinio_deploy.codegen.pack import Array
from plinio_deploy.codegen.window import window
from plinio_deploy.network import Conv, Hi32

MOST_CHANNELS = 252
"""Most input channels: the next place of a patch is reached by the offset of a store."""

REACH = 4092
"""Most bytes from the first output of a patch to the last: the offset of a store."""

BLOCK = 400.0
"""Instructions per patch and four output channels besides products."""


class ConvWinograd(Kernel):
    """Weights are transformed when the code is generated: 32 bytes of flash for nine of them, whatever their width."""

    name: ClassVar[str] = "conv_winograd"
    template: ClassVar[str | None] = "ops/conv_winograd.c.j2"
    parts: ClassVar[str | None] = "parts/winograd.c.j2"
    on_request: ClassVar[bool] = True

    def handles(self, site: Site) -> bool:
        """Dense convolutions 3 x 3 of stride 1 of bytes, of our flavour, of which four times each sum is an int32."""
        op = site.op
        if "dsp" not in site.isa or not isinstance(op, Conv) or op.groups != 1 or op.kernel != (3, 3):
            return False
        if op.stride != (1, 1) or op.dilation != (1, 1) or not isinstance(op.requant, Hi32) or op.requant.shift:
            return False
        if site.inputs[0].bits != 8 or site.output.bits != 8 or site.inputs[0].channels > MOST_CHANNELS:
            return False
        return winograd.fits(blocks.sums(op, site.inputs[0]), WINOGRAD.scales[0])

    def cost(self, site: Site) -> float:
        """Per patch its transform, then per four channels 11 instructions per place and pair of channels."""
        patch = _patch(site)
        rows, columns = _patches(site)
        block = 16 * (11.0 * patch.pairs + 5.0) + BLOCK
        return rows * columns * (146.0 * patch.pairs + 150.0 + -(-site.output.channels // CHANNELS) * block)

    def scratch_bytes(self, site: Site) -> int:
        """A transformed patch, what it reads where that has to be put together, outputs that are not all wanted."""
        return _staged_at(site) + (ROWS * COLUMNS * CHANNELS if _staged(site) else 0)

    def arrays(self, site: Site) -> tuple[Array, ...]:
        """Transformed weights and constants."""
        op = _conv(site)
        found = blocks.sums(op, site.inputs[0])
        return winograd.weights(op, _patch(site)), winograd.constants(op, found, WINOGRAD.scales[0])

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """See ``templates/ops/conv_winograd.c.j2``."""
        op, source, patch = _conv(site), site.inputs[0], _patch(site)
        rows, columns = _patches(site)
        steps = _steps(site)
        gathers = _gathers(site)
        out = layer.output(site, blocks.sums(op, source))
        return {
            "tiles": patch,
            "steps": steps,
            "scale": WINOGRAD.scales[0],
            "order": winograd.ORDER,
            "asm_tile": winograd_assembly.tile(patch),
            "asm_products": winograd_assembly.products(patch, out, WINOGRAD, steps),
            "clamp": op.requant.clamp,
            "win": window(op, source, site.output, all_taps=True),
            "fill": source.zero_point & 255,
            "gathers": gathers,
            "whole_words": source.channels % 4 == 0,
            "rows": rows,
            "columns": columns,
            "window_at": patch.nbytes,
            "staged": _staged_at(site) if _staged(site) else None,
            "weights": emitter.array("_w"),
            "constants": emitter.array("_q"),
        }


def _conv(site: Site) -> Conv:
    assert isinstance(site.op, Conv)
    return site.op


def _patch(site: Site) -> Patch:
    return Patch(site.inputs[0].channels, site.inputs[0].signed)


def _patches(site: Site) -> tuple[int, int]:
    """From top to bottom and from left to right; the last ones overlap those before them where sizes are odd."""
    height, width, _ = site.output.shape
    return -(-height // ROWS), -(-width // COLUMNS)


def _gathers(site: Site) -> bool:
    """Whether some patch reads padding, beyond what a small output needs, or pixels of no whole words."""
    op = _conv(site)
    height, width, _ = site.output.shape
    return any(op.padding) or height < ROWS or width < COLUMNS or site.inputs[0].channels % 4 != 0


def _staged(site: Site) -> bool:
    """Whether outputs of a block go to scratch first: of a small image, or of the last channels, not all are wanted."""
    height, width, channels = site.output.shape
    whole = height >= ROWS and width >= COLUMNS and channels % CHANNELS == 0
    return not whole or Steps(width * channels, channels).reach > REACH


def _staged_at(site: Site) -> int:
    """Bytes of the transformed patch and of what it reads."""
    patch = _patch(site)
    return patch.nbytes + (patch.window_bytes if _gathers(site) else 0)


def _steps(site: Site) -> Steps:
    _, width, channels = site.output.shape
    return Steps(COLUMNS * CHANNELS, CHANNELS) if _staged(site) else Steps(width * channels, channels)


KERNELS = (ConvWinograd(),)
