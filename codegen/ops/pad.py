# SPDX-License-Identifier: Apache-2.0
"""Spatial padding, in plain C."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from plinio_deploy.codegen import pack
from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Kernel, Site
from plinio_deploy.codegen.pack import Array
from plinio_deploy.network import Pad


def _pixel(site: Site) -> bytes:
    return pack.pixel_of(site.output, site.output.zero_point)


class PadPlain(Kernel):
    """Rows copied, the rest filled with the zero point."""

    name: ClassVar[str] = "pad_plain"
    template: ClassVar[str | None] = "ops/pad.c.j2"

    def handles(self, site: Site) -> bool:
        """Every pad."""
        return isinstance(site.op, Pad)

    def cost(self, site: Site) -> float:
        """About an instruction per byte."""
        return float(site.output.nbytes)

    def arrays(self, site: Site) -> tuple[Array, ...]:
        """A pixel of zero points, unless all its bytes are equal."""
        pixel = _pixel(site)
        if len(set(pixel)) == 1:
            return ()
        return (Array("_pad", "uint8_t", tuple(pixel), "a pixel of zero points"),)

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """See ``templates/ops/pad.c.j2``."""
        op = site.op
        assert isinstance(op, Pad)
        pixel = _pixel(site)
        source, output = site.inputs[0], site.output
        top, bottom, left, right = op.padding
        return {
            "fill": pixel[0] if len(set(pixel)) == 1 else None,
            "pad": emitter.array("_pad"),
            "pixel_bytes": output.row_bytes,
            "before": top * output.shape[1],
            "left": left,
            "right": right,
            "after": bottom * output.shape[1],
            "rows": source.shape[0],
            "row_bytes": source.shape[1] * source.row_bytes,
        }


KERNELS = (PadPlain(),)
