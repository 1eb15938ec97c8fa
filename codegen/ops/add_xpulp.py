# SPDX-License-Identifier: Apache-2.0
"""Element-wise addition on CV32E40P with its PULP extension: eight instructions per element in a hardware loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from plinio_deploy.codegen.emit import Emitter, literal
from plinio_deploy.codegen.kernel import Kernel, Site, elements_cost
from plinio_deploy.codegen.ops.add import AddPlain
from plinio_deploy.codegen.rv32 import xpulp
from plinio_deploy.codegen.rv32.assembly import Output
from plinio_deploy.network import Add, AddRescale


class AddXpulp(AddPlain):
    """Our add of bytes."""

    name: ClassVar[str] = "add_xpulp"
    template: ClassVar[str | None] = "ops/add_xpulp.c.j2"
    parts: ClassVar[str | None] = "parts/xpulp_add.c.j2"

    def handles(self, site: Site) -> bool:
        """Adds of the ``hi32`` flavour whose tensors all hold bytes."""
        tensors = (*site.inputs, site.output)
        return "xpulp" in site.isa and super().handles(site) and all(tensor.bits == 8 for tensor in tensors)

    def cost(self, site: Site) -> float:
        """The loop and a call."""
        return elements_cost(site, 8.0) + 30.0

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """See ``templates/ops/add_xpulp.c.j2``."""
        assert isinstance(site.op, Add)
        rescale = site.op.rescale
        assert isinstance(rescale, AddRescale)
        low, high = rescale.clamp
        signed = (site.inputs[0].signed, site.inputs[1].signed)
        output = Output(0, site.output.zero_point - low, low, high - low)
        return {
            **super().variables(site, emitter),
            "rescale": rescale,
            "offset": literal(rescale.offset),
            "lines": xpulp.add_loop(site.output.elements, rescale.shift, output, signed=signed),
        }


KERNELS: tuple[Kernel, ...] = (AddXpulp(),)
