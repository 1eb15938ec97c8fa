# SPDX-License-Identifier: Apache-2.0
"""Dense convolution with the vector extension: patches of two pixels as signed bytes, then their dot products."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from plinio_deploy.codegen import mve
from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Kernel, Site
from plinio_deploy.codegen.pack import Array
from plinio_deploy.codegen.window import window
from plinio_deploy.network import Conv


class ConvMve(Kernel):
    """Two output pixels by four channels at a time; a lone pixel by four channels."""

    name: ClassVar[str] = "conv_mve"
    template: ClassVar[str | None] = "ops/conv_mve.c.j2"
    parts: ClassVar[str | None] = "parts/mve_products.c.j2"

    def handles(self, site: Site) -> bool:
        """Ungrouped convolutions."""
        op = site.op
        if "mve" not in site.isa or not isinstance(op, Conv) or op.groups > 1:
            return False
        return mve.can_multiply(op, site.inputs[0], site.output)

    def cost(self, site: Site) -> float:
        """Products, 3 instructions per code, and copying the patches."""
        op = site.op
        assert isinstance(op, Conv)
        pixels = site.output.elements // site.output.channels
        vectors = mve.products_of(op, site.output).vectors
        rows = op.kernel[0] * (op.kernel[1] if op.dilation[1] > 1 else 1)
        return site.output.elements * (1.9 * vectors + 4.0) + pixels * (20.0 + 12.0 * rows + 5.0 * vectors)

    def scratch_bytes(self, site: Site) -> int:
        """Patches of one or two pixels."""
        assert isinstance(site.op, Conv)
        return _pixels(site) * mve.products_of(site.op, site.output).padded

    def arrays(self, site: Site) -> tuple[Array, ...]:
        """Weights in reading order; biases and multipliers."""
        assert isinstance(site.op, Conv)
        return mve.arrays(site.op, site.inputs[0])

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """See ``templates/ops/conv_mve.c.j2``."""
        op, source = site.op, site.inputs[0]
        assert isinstance(op, Conv)
        pixels = _pixels(site)
        return {
            **mve.variables(op, site.output, emitter, pixels),
            "win": window(op, source, site.output),
            "flip": mve.flip(source),
            "fill": source.zero_point + mve.offset(source),
            "total": site.output.elements // site.output.channels,
        }


def _pixels(site: Site) -> int:
    return 1 if site.output.elements == site.output.channels else 2


KERNELS = (ConvMve(),)
