# SPDX-License-Identifier: Apache-2.0
"""Matrix times vector for Cortex-M0, M0+ and M3: the convolution's dot products of one pixel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from plinio_deploy.codegen import thumb, thumb1, thumb2
from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Kernel, Site
from plinio_deploy.codegen.pack import Array
from plinio_deploy.codegen.thumb import MicroKernels
from plinio_deploy.network import Linear


class LinearThumb1(Kernel):
    """Four outputs at a time.

    Attributes:
        feature: the instruction set.
        kernels: its assembly.
    """

    name: ClassVar[str] = "linear_thumb1"
    template: ClassVar[str | None] = "ops/linear_thumb.c.j2"
    feature: ClassVar[str] = "thumb1"
    kernels: ClassVar[MicroKernels] = thumb1.KERNELS
    parts: ClassVar[str | None] = "parts/thumb_products.c.j2"

    def handles(self, site: Site) -> bool:
        """Matrix products."""
        op = site.op
        if self.feature not in site.isa or not isinstance(op, Linear):
            return False
        return thumb.can_multiply(op, site.inputs[0], site.output)

    def cost(self, site: Site) -> float:
        """Products, requantization, and copying the input."""
        return thumb.cost(site, 1, self.kernels)

    def scratch_bytes(self, site: Site) -> int:
        """The input as unsigned bytes, and sums."""
        return _layout(site).scratch_bytes

    def arrays(self, site: Site) -> tuple[Array, ...]:
        """Weights in reading order; biases and multipliers."""
        assert isinstance(site.op, Linear)
        return thumb.arrays(site.op, site.inputs[0], _layout(site))

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """See ``templates/ops/linear_thumb.c.j2``."""
        op, source = site.op, site.inputs[0]
        assert isinstance(op, Linear)
        return thumb.variables(op, source, _layout(site), emitter, self.kernels)


class LinearThumb2(LinearThumb1):
    """The same for Cortex-M3."""

    name: ClassVar[str] = "linear_thumb2"
    feature: ClassVar[str] = "thumb2"
    kernels: ClassVar[MicroKernels] = thumb2.KERNELS


def _layout(site: Site) -> thumb.Products:
    assert isinstance(site.op, Linear)
    return thumb.products_of(site.op, site.inputs[0], site.output, 1)


KERNELS = (LinearThumb1(), LinearThumb2())
