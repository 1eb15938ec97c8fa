# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolution: one input channel per output channel, in plain C."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from plinio_deploy.codegen import weighted
from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Kernel, Site
from plinio_deploy.codegen.ops.conv import conv_arrays, conv_window
from plinio_deploy.codegen.pack import Array
from plinio_deploy.network import Conv


class DepthwisePlain(Kernel):
    """A convolution whose groups have one input channel: no inner loop over channels."""

    name: ClassVar[str] = "depthwise_plain"
    template: ClassVar[str | None] = "ops/depthwise.c.j2"

    def handles(self, site: Site) -> bool:
        """Convolutions with one input channel per group, and several groups."""
        return isinstance(site.op, Conv) and site.op.is_depthwise

    def cost(self, site: Site) -> float:
        """Two loads with their addresses, a multiply-add and the loop per MAC."""
        return weighted.cost(site, 9.0)

    def arrays(self, site: Site) -> tuple[Array, ...]:
        """As for any convolution."""
        assert isinstance(site.op, Conv)
        return conv_arrays(site.op, site)

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """See ``templates/ops/depthwise.c.j2``."""
        op = site.op
        assert isinstance(op, Conv)
        multiplier = op.weights.out_channels // op.groups
        return {
            **weighted.variables(site, op, emitter),
            "win": conv_window(op, site),
            "pad": emitter.array("_pad"),
            "channel": "oc" if multiplier == 1 else f"oc / {multiplier}",
        }


KERNELS = (DepthwisePlain(),)
