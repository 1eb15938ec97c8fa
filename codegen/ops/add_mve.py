# SPDX-License-Identifier: Apache-2.0
"""Element-wise addition with the vector extension: four elements at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from plinio_deploy.codegen.emit import Emitter, literal
from plinio_deploy.codegen.kernel import Kernel, Site, elements_cost
from plinio_deploy.codegen.ops.add import AddPlain
from plinio_deploy.network import Add, AddRescale


class AddMve(AddPlain):
    """Our add of bytes."""

    name: ClassVar[str] = "add_mve"
    template: ClassVar[str | None] = "ops/add_mve.c.j2"

    def handles(self, site: Site) -> bool:
        """Adds of the ``hi32`` flavour whose tensors all hold bytes."""
        tensors = (*site.inputs, site.output)
        return "mve" in site.isa and super().handles(site) and all(tensor.bits == 8 for tensor in tensors)

    def cost(self, site: Site) -> float:
        """Nine instructions per four elements."""
        return elements_cost(site, 2.5) + 20.0

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """See ``templates/ops/add_mve.c.j2``."""
        assert isinstance(site.op, Add)
        rescale = site.op.rescale
        assert isinstance(rescale, AddRescale)
        signs = ["s" if tensor.signed else "u" for tensor in site.inputs]
        return {**super().variables(site, emitter), "rescale": rescale, "signs": signs, "literal": literal}


KERNELS: tuple[Kernel, ...] = (AddMve(),)
