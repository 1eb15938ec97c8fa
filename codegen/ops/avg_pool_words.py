# SPDX-License-Identifier: Apache-2.0
"""Average pooling of bytes, four channels at a time, in C that any core with unaligned words takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Kernel, Site
from plinio_deploy.codegen.window import window
from plinio_deploy.network import AvgPool, Hi32

MOST = 257
"""Bytes whose sum fits 16 bits."""


class AvgPoolWords(Kernel):
    """Sums of four channels in two words of two halves, counted from the least code."""

    name: ClassVar[str] = "avg_pool_words"
    template: ClassVar[str | None] = "ops/avg_pool_words.c.j2"

    def handles(self, site: Site) -> bool:
        """Unpadded windows of bytes, of our flavour, in whole words."""
        op = site.op
        if "dsp" not in site.isa or not isinstance(op, AvgPool) or not isinstance(op.requant, Hi32):
            return False
        fits = not any(op.padding) and op.kernel[0] * op.kernel[1] <= MOST
        return fits and site.inputs[0].bits == 8 and site.inputs[0].channels % 4 == 0

    def cost(self, site: Site) -> float:
        """Seven instructions per four bytes of the window, and requantization."""
        assert isinstance(site.op, AvgPool)
        return site.output.elements * (12.0 + 2.5 * site.op.kernel[0] * site.op.kernel[1])

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """See ``templates/ops/avg_pool_words.c.j2``."""
        op, source = site.op, site.inputs[0]
        assert isinstance(op, AvgPool)
        requantizer = emitter.scalar_requantizer(op.requant, op.bias, site.output)
        return {
            "win": window(op, source, site.output),
            "start": requantizer.start,
            "code": requantizer.code,
            "least": op.kernel[0] * op.kernel[1] * source.qmin,
        }


KERNELS = (AvgPoolWords(),)
