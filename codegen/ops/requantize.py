# SPDX-License-Identifier: Apache-2.0
"""Change of quantizer, in plain C."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Kernel, Site, elements_cost, same_layout
from plinio_deploy.network import Requantize


class RequantizePlain(Kernel):
    """Element by element, through the same arithmetic as a layer's accumulator."""

    name: ClassVar[str] = "requantize_plain"
    template: ClassVar[str | None] = "ops/elementwise.c.j2"

    def handles(self, site: Site) -> bool:
        """Every requantization, of both flavours."""
        return isinstance(site.op, Requantize)

    def cost(self, site: Site) -> float:
        """A load, a long multiply, a clamp and a store."""
        return elements_cost(site, 12.0)

    def in_place(self, site: Site) -> tuple[int, ...]:
        """The input, if its codes are as wide as the output's."""
        return (0,) if same_layout(site.inputs[0], site.output) else ()

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """See ``templates/ops/elementwise.c.j2``."""
        op = site.op
        assert isinstance(op, Requantize)
        requantizer = emitter.scalar_requantizer(op.requant, op.bias, site.output)
        return {"variables": ("acc",), "start": requantizer.start, "code": requantizer.code}


KERNELS = (RequantizePlain(),)
