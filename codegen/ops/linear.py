# SPDX-License-Identifier: Apache-2.0
"""Matrix times vector, in plain C."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from plinio_deploy.codegen import weighted
from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Kernel, Site
from plinio_deploy.codegen.pack import Array
from plinio_deploy.network import Linear


class LinearPlain(Kernel):
    """One dot product per output."""

    name: ClassVar[str] = "linear_plain"
    template: ClassVar[str | None] = "ops/linear.c.j2"

    def handles(self, site: Site) -> bool:
        """Every linear layer."""
        return isinstance(site.op, Linear)

    def cost(self, site: Site) -> float:
        """Two loads, a multiply-add and the loop per MAC."""
        return weighted.cost(site, 6.0)

    def arrays(self, site: Site) -> tuple[Array, ...]:
        """Weights, biases and multipliers."""
        assert isinstance(site.op, Linear)
        return weighted.arrays(site.op, f"({site.op.weights.codes.shape[1]},)")

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """See ``templates/ops/linear.c.j2``."""
        assert isinstance(site.op, Linear)
        return {**weighted.variables(site, site.op, emitter), "depth": site.op.weights.codes.shape[1]}


KERNELS = (LinearPlain(),)
