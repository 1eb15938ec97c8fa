# SPDX-License-Identifier: Apache-2.0
"""Matrix times vector on cores with the DSP extension: weights are read once, four rows at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from plinio_deploy.codegen.dsp import layer
from plinio_deploy.codegen.dsp.assembly import Direct
from plinio_deploy.codegen.dsp.columns import UNROLL, Columns, columns
from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Kernel, Site
from plinio_deploy.codegen.pack import Array
from plinio_deploy.network import Linear

MULTIPLE = 4
"""Words of a vector per turn."""

FEW_ROWS = 16
"""Most outputs whose micro-kernel is rather short than fast: it is executed a few times only."""

MOST_SCRATCH = 640
"""Most bytes of scratch that are worth fewer instructions: a matrix product has little else in the arena."""


class LinearDsp(Kernel):
    """The vector is widened into scratch first.

    Attributes:
        wide: see `ConvDsp`.
    """

    name: ClassVar[str] = "linear_dsp"
    template: ClassVar[str | None] = "ops/linear_dsp.c.j2"
    parts: ClassVar[str | None] = "parts/dsp_products.c.j2"
    wide: ClassVar[bool] = False

    def handles(self, site: Site) -> bool:
        """Layers of our flavour whose accumulators can be packed, and short vectors."""
        if not isinstance(site.op, Linear) or not layer.fits(site, wide=self.wide):
            return False
        return self.wide or self.scratch_bytes(site) <= MOST_SCRATCH or not LinearDirectDsp().handles(site)

    def cost(self, site: Site) -> float:
        """The vector, then each block."""
        layout = _layout(site)
        return 40.0 + 2.2 * layout.used + layer.products_cost(site, layout, 1, wide=self.wide)

    def scratch_bytes(self, site: Site) -> int:
        """The widened vector and its sum."""
        return 4 * _layout(site).words + 4

    def arrays(self, site: Site) -> tuple[Array, ...]:
        """Packed weights and constants."""
        return layer.arrays(site, _layout(site), 1, wide=self.wide)

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """See ``templates/ops/linear_dsp.c.j2``."""
        return layer.variables(site, _layout(site), 1, emitter, wide=self.wide)


class LinearDirectDsp(LinearDsp):
    """Codes of 8 bits are widened on the way, once per four rows: no scratch."""

    name: ClassVar[str] = "linear_direct_dsp"

    def handles(self, site: Site) -> bool:
        """Vectors of bytes that fill whole turns."""
        if not isinstance(site.op, Linear) or site.inputs[0].bits != 8 or not layer.fits(site):
            return False
        return 2 * _layout(site).words == site.inputs[0].channels

    def cost(self, site: Site) -> float:
        """Each block."""
        return 40.0 + layer.products_cost(site, _layout(site), 1, direct=True)

    def scratch_bytes(self, site: Site) -> int:  # noqa: ARG002 - none
        """None."""
        return 0

    def arrays(self, site: Site) -> tuple[Array, ...]:
        """Packed weights and constants."""
        return layer.arrays(site, _layout(site), 1, direct=True)

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """See ``templates/ops/linear_dsp.c.j2``."""
        return layer.variables(site, _layout(site), 1, emitter, Direct(site.inputs[0].signed))


def _layout(site: Site) -> Columns:
    few = site.output.channels <= FEW_ROWS
    return columns(layer.weighted(site), site.inputs[0], MULTIPLE, UNROLL[0 if few else 1])


class LinearWideDsp(LinearDsp):
    """Weights lie in flash as they are multiplied, see `ConvWideDsp`."""

    name: ClassVar[str] = "linear_wide_dsp"
    wide: ClassVar[bool] = True
    on_request: ClassVar[bool] = True


KERNELS = (LinearDsp(), LinearDirectDsp(), LinearWideDsp())
