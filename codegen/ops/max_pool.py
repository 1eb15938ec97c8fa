# SPDX-License-Identifier: Apache-2.0
"""Max pooling, in plain C."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Kernel, Site, elements_cost
from plinio_deploy.codegen.window import window
from plinio_deploy.network import MaxPool


class MaxPoolPlain(Kernel):
    """Greatest code inside the input; padded places are not visited."""

    name: ClassVar[str] = "max_pool_plain"
    template: ClassVar[str | None] = "ops/max_pool.c.j2"

    def handles(self, site: Site) -> bool:
        """Every max pool."""
        return isinstance(site.op, MaxPool)

    def cost(self, site: Site) -> float:
        """Load, compare and loop per element of the window."""
        assert isinstance(site.op, MaxPool)
        return elements_cost(site, 10.0 + 6.0 * site.op.kernel[0] * site.op.kernel[1])

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:  # noqa: ARG002 - the template loads
        """See ``templates/ops/max_pool.c.j2``."""
        assert isinstance(site.op, MaxPool)
        return {"win": window(site.op, site.inputs[0], site.output), "least": site.output.qmin}


KERNELS = (MaxPoolPlain(),)
