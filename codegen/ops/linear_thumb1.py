# SPDX-License-Identifier: Apache-2.0
"""Matrix times vector for Cortex-M0 and M0+: the convolution's dot products of one pixel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from plinio_deploy.codegen import thumb1
from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Kernel, Site
from plinio_deploy.codegen.pack import Array
from plinio_deploy.network import Linear


class LinearThumb1(Kernel):
    """Four outputs at a time."""

    name: ClassVar[str] = "linear_thumb1"
    template: ClassVar[str | None] = "ops/linear_thumb1.c.j2"
    parts: ClassVar[str | None] = "parts/thumb1_products.c.j2"

    def handles(self, site: Site) -> bool:
        """Matrix products of bytes."""
        op = site.op
        if "thumb1" not in site.isa or not isinstance(op, Linear):
            return False
        return thumb1.can_multiply(op, site.inputs[0], site.output)

    def cost(self, site: Site) -> float:
        """Products, 22 instructions per code, and copying the input."""
        assert isinstance(site.op, Linear)
        return thumb1.cost(site.op, site.inputs[0], site.output, 1)

    def scratch_bytes(self, site: Site) -> int:
        """The input as unsigned bytes, and sums."""
        return _layout(site).scratch_bytes

    def arrays(self, site: Site) -> tuple[Array, ...]:
        """Weights in reading order; biases and multipliers."""
        assert isinstance(site.op, Linear)
        return thumb1.arrays(site.op, site.inputs[0], _layout(site))

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """See ``templates/ops/linear_thumb1.c.j2``."""
        op, source = site.op, site.inputs[0]
        assert isinstance(op, Linear)
        return thumb1.variables(op, source, _layout(site), emitter)


def _layout(site: Site) -> thumb1.Products:
    assert isinstance(site.op, Linear)
    return thumb1.products_of(site.op, site.inputs[0], site.output, 1)


KERNELS = (LinearThumb1(),)
