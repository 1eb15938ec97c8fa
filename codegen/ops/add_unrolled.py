# SPDX-License-Identifier: Apache-2.0
"""Element-wise addition in C, several elements per turn: cores without a branch predictor, flash to spare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Site, elements_cost
from plinio_deploy.codegen.ops.add import AddPlain

UNROLL = 8
"""Elements per turn."""


class AddUnrolled(AddPlain):
    """Our add of bytes."""

    name: ClassVar[str] = "add_unrolled"

    def handles(self, site: Site) -> bool:
        """Adds of bytes whose number is a multiple of `UNROLL`."""
        bytes_only = all(tensor.bits == 8 for tensor in (*site.inputs, site.output))
        return super().handles(site) and "dsp" in site.isa and bytes_only and site.output.elements % UNROLL == 0

    def cost(self, site: Site) -> float:
        """Two loads, two multiplies, a shift with a clamp and a store."""
        return elements_cost(site, 7.0)

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """See ``templates/ops/elementwise.c.j2``."""
        return {**super().variables(site, emitter), "unroll": UNROLL}


KERNELS = (AddUnrolled(),)
