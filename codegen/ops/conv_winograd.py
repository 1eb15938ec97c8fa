# SPDX-License-Identifier: Apache-2.0
"""Convolutions 3 x 3 by Winograd's method on cores with the DSP extension: fewer products, more memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from plinio_deploy.codegen.dsp import blocks, layer, winograd, winograd_assembly
from plinio_deploy.codegen.dsp.blocks import CHANNELS
from plinio_deploy.codegen.dsp.winograd import COLUMNS, FOUR, ROWS, Filters, Patch, Steps
from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Kernel, Site, named
from plinio_deploy.codegen.pack import Array
from plinio_deploy.codegen.window import window
from plinio_deploy.network import Conv, Hi32

MOST_CHANNELS = 252
"""Most input channels: the next place of a patch is reached by the offset of a store."""

MOST_FILTERED = 72
"""The same where weights are transformed while the code runs: half of their places are."""

REACH = 4092
"""Most bytes from the first output of a patch to the last: the offset of a store."""

PATCHES = (2, 4, 8)
"""For how many patches weights may be transformed at once: choices of a schedule."""

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
        return winograd.fits(blocks.sums(op, site.inputs[0]), self._scale(site))

    def cost(self, site: Site) -> float:
        """Per patch its transform, then per four channels 11 instructions per place and pair of channels."""
        patch = _patch(site)
        block = 16 * (11.0 * patch.pairs + 5.0) + BLOCK
        return _count(site) * (146.0 * patch.pairs + 150.0 + _blocks(site) * block)

    def scratch_bytes(self, site: Site) -> int:
        """Transformed patches and weights, a window that is put together, a block of outputs if not all are wanted."""
        return self._staged_at(site) + (ROWS * COLUMNS * CHANNELS if self._staged(site) else 0)

    def arrays(self, site: Site) -> tuple[Array, ...]:
        """Weights and constants."""
        op, found = _conv(site), self._filters(site)
        weights = winograd.weights(op, _patch(site)) if found is None else winograd.filters(op, found)
        return weights, winograd.constants(op, blocks.sums(op, site.inputs[0]), self._scale(site))

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """See ``templates/ops/conv_winograd.c.j2``."""
        op, source, patch = _conv(site), site.inputs[0], _patch(site)
        rows, columns = _patches(site)
        steps = _inside(site) if not self._staged(site) else Steps(COLUMNS * CHANNELS, CHANNELS)
        filters, scale = self._filters(site), self._scale(site)
        out = layer.output(site, blocks.sums(op, source))
        return {
            "tiles": patch,
            "steps": steps,
            "filters": filters,
            "scale": scale,
            "order": winograd.ORDER,
            "asm_tile": winograd_assembly.tile(patch),
            "asm_products": winograd_assembly.products(patch, out, winograd.variant(scale), steps),
            "asm_filters": winograd_assembly.filters(patch, filters) if filters else [],
            "clamp": op.requant.clamp,
            "win": window(op, source, site.output, all_taps=True),
            "fill": source.zero_point & 255,
            "gathers": _gathers(site),
            "whole_words": source.channels % 4 == 0,
            "rows": rows,
            "columns": columns,
            "strip": self._strip(site),
            "filters_at": self._strip(site) * patch.nbytes,
            "window_at": self._window_at(site),
            "staged": self._staged_at(site) if self._staged(site) else None,
            "weights": emitter.array("_w"),
            "constants": emitter.array("_q"),
        }

    def _strip(self, site: Site) -> int:  # noqa: ARG002 - a hook
        """Patches that are transformed at once."""
        return 1

    def _filters(self, site: Site) -> Filters | None:  # noqa: ARG002 - a hook
        """Weights that are transformed while the code runs."""
        return None

    def _staged(self, site: Site) -> bool:
        """Whether outputs of a block go to scratch: of a small image, or of the last channels, not all are wanted."""
        height, width, channels = site.output.shape
        whole = height >= ROWS and width >= COLUMNS and channels % CHANNELS == 0
        return not whole or _inside(site).reach > REACH

    def _scale(self, site: Site) -> int:
        filters = self._filters(site)
        return FOUR if filters is None else filters.scale

    def _window_at(self, site: Site) -> int:
        """Bytes of transformed patches and weights."""
        patch = _patch(site)
        return self._strip(site) * patch.nbytes + (4 * patch.block_words if self._filters(site) else 0)

    def _staged_at(self, site: Site) -> int:
        return self._window_at(site) + (_patch(site).window_bytes if _gathers(site) else 0)


class ConvWinogradScratch(ConvWinograd):
    """Weights take the flash that they have bits; four output channels at a time are transformed for some patches.

    Attributes:
        patches: for how many at most: the parameter that a schedule gives.
    """

    patches: ClassVar[int]

    def handles(self, site: Site) -> bool:
        """The same, of fewer channels and more patches."""
        if not super().handles(site) or site.inputs[0].channels > MOST_FILTERED:
            return False
        return self.patches == PATCHES[0] or 2 * _count(site) > self.patches

    def cost(self, site: Site) -> float:
        """The same, and for each strip of patches the transform of all weights."""
        strips = -(-_count(site) // self.patches)
        filters = self._filters(site)
        pair = 80.0 if filters.digits == 1 else 100.0
        return super().cost(site) + strips * _blocks(site) * (CHANNELS * _patch(site).pairs * pair + 30.0)

    def _strip(self, site: Site) -> int:
        return min(self.patches, _count(site))

    def _filters(self, site: Site) -> Filters:
        return winograd.filters_of(_conv(site))


def for_patches(kernel: type[ConvWinogradScratch], family: str, patches: int) -> type[ConvWinogradScratch]:
    """The kernel of a family for a number of patches."""
    return type(kernel.__name__, (kernel,), {"name": named(family, {"patches": patches}), "patches": patches})


def _conv(site: Site) -> Conv:
    assert isinstance(site.op, Conv)
    return site.op


def _patch(site: Site) -> Patch:
    return Patch(site.inputs[0].channels, site.inputs[0].signed)


def _blocks(site: Site) -> int:
    return -(-site.output.channels // CHANNELS)


def _patches(site: Site) -> tuple[int, int]:
    """From top to bottom and from left to right; the last ones overlap those before them where sizes are odd."""
    height, width, _ = site.output.shape
    return -(-height // ROWS), -(-width // COLUMNS)


def _count(site: Site) -> int:
    rows, columns = _patches(site)
    return rows * columns


def _gathers(site: Site) -> bool:
    """Whether some patch reads padding, beyond what a small output needs, or pixels of no whole words."""
    op = _conv(site)
    height, width, _ = site.output.shape
    return any(op.padding) or height < ROWS or width < COLUMNS or site.inputs[0].channels % 4 != 0


def _inside(site: Site) -> Steps:
    """Steps within the output."""
    _, width, channels = site.output.shape
    return Steps(width * channels, channels)


KERNELS = (
    ConvWinograd(),
    *(for_patches(ConvWinogradScratch, "conv_winograd_scratch", patches)() for patches in PATCHES),
)
