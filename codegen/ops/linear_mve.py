# SPDX-License-Identifier: Apache-2.0
"""Matrix times vector with the vector extension: the convolution's dot products of one pixel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from plinio_deploy.codegen import mve
from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Kernel, Site
from plinio_deploy.codegen.pack import Array
from plinio_deploy.network import Linear


class LinearMve(Kernel):
    """Four outputs at a time."""

    name: ClassVar[str] = "linear_mve"
    template: ClassVar[str | None] = "ops/linear_mve.c.j2"
    parts: ClassVar[str | None] = "parts/mve_products.c.j2"

    def handles(self, site: Site) -> bool:
        """Matrix products."""
        if "mve" not in site.isa or not isinstance(site.op, Linear):
            return False
        return mve.can_multiply(site.op, site.inputs[0], site.output)

    def cost(self, site: Site) -> float:
        """Nine instructions per four vectors, 4 per code, and the copy of the input."""
        assert isinstance(site.op, Linear)
        vectors = mve.products_of(site.op, site.output).vectors
        return site.output.elements * (2.5 * vectors + 4.0) + 4.0 * vectors + 30.0

    def scratch_bytes(self, site: Site) -> int:
        """The input as signed bytes."""
        assert isinstance(site.op, Linear)
        return mve.products_of(site.op, site.output).padded

    def arrays(self, site: Site) -> tuple[Array, ...]:
        """Weights in reading order; biases and multipliers."""
        assert isinstance(site.op, Linear)
        return mve.arrays(site.op, site.inputs[0])

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """See ``templates/ops/linear_mve.c.j2``."""
        assert isinstance(site.op, Linear)
        return {**mve.variables(site.op, site.output, emitter, 1), "flip": mve.flip(site.inputs[0])}


KERNELS = (LinearMve(),)
