# SPDX-License-Identifier: Apache-2.0
"""Dense convolution for Cortex-M0, M0+ and M3: patches of two pixels as unsigned bytes, then their dot products."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from plinio_deploy.codegen import thumb, thumb1, thumb2
from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Kernel, Site
from plinio_deploy.codegen.pack import Array
from plinio_deploy.codegen.thumb import MicroKernels
from plinio_deploy.codegen.window import window
from plinio_deploy.network import Conv


class ConvThumb1(Kernel):
    """Two output pixels by four channels at a time; a lone pixel by four channels.

    Attributes:
        feature: the instruction set.
        kernels: its assembly.
    """

    name: ClassVar[str] = "conv_thumb1"
    template: ClassVar[str | None] = "ops/conv_thumb.c.j2"
    feature: ClassVar[str] = "thumb1"
    kernels: ClassVar[MicroKernels] = thumb1.KERNELS
    parts: ClassVar[str | None] = "parts/thumb_products.c.j2"

    def handles(self, site: Site) -> bool:
        """Ungrouped convolutions."""
        op = site.op
        if self.feature not in site.isa or not isinstance(op, Conv) or op.groups > 1:
            return False
        return thumb.can_multiply(op, site.inputs[0], site.output)

    def cost(self, site: Site) -> float:
        """Products, requantization, and copying the patches."""
        return thumb.cost(site, _pixels(site), self.kernels)

    def scratch_bytes(self, site: Site) -> int:
        """Patches of one or two pixels, and sums."""
        return _layout(site).scratch_bytes

    def arrays(self, site: Site) -> tuple[Array, ...]:
        """Weights in reading order; biases and multipliers."""
        assert isinstance(site.op, Conv)
        return thumb.arrays(site.op, site.inputs[0], _layout(site))

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """See ``templates/ops/conv_thumb.c.j2``."""
        op, source = site.op, site.inputs[0]
        assert isinstance(op, Conv)
        return {
            **thumb.variables(op, source, _layout(site), emitter, self.kernels),
            "win": window(op, source, site.output),
            "fill": source.zero_point - source.qmin,
            "total": site.output.elements // site.output.channels,
        }


class ConvThumb2(ConvThumb1):
    """The same for Cortex-M3."""

    name: ClassVar[str] = "conv_thumb2"
    feature: ClassVar[str] = "thumb2"
    kernels: ClassVar[MicroKernels] = thumb2.KERNELS


def _pixels(site: Site) -> int:
    return 1 if site.output.elements == site.output.channels else 2


def _layout(site: Site) -> thumb.Products:
    assert isinstance(site.op, Conv)
    return thumb.products_of(site.op, site.inputs[0], site.output, _pixels(site))


KERNELS = (ConvThumb1(), ConvThumb2())
