# SPDX-License-Identifier: Apache-2.0
"""Dense convolution for Cortex-M0, M0+ and M3: patches of two pixels as unsigned bytes, then their dot products."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from plinio_deploy.codegen import thumb1, thumb2
from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Site
from plinio_deploy.codegen.thumb import MicroKernels, ProductsKernel
from plinio_deploy.codegen.window import window
from plinio_deploy.network import Conv, Linear


class ConvThumb1(ProductsKernel):
    """Two output pixels by four channels at a time; a lone pixel by four channels."""

    name: ClassVar[str] = "conv_thumb1"
    template: ClassVar[str | None] = "ops/conv_thumb.c.j2"
    kind: ClassVar[type[Conv | Linear]] = Conv
    feature: ClassVar[str] = "thumb1"
    kernels: ClassVar[MicroKernels] = thumb1.KERNELS

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """See ``templates/ops/conv_thumb.c.j2``."""
        op, source = site.op, site.inputs[0]
        assert isinstance(op, Conv)
        return {
            **super().variables(site, emitter),
            "win": window(op, source, site.output),
            "fill": source.zero_point - source.qmin,
            "total": site.output.elements // site.output.channels,
        }


class ConvThumb2(ConvThumb1):
    """The same for Cortex-M3."""

    name: ClassVar[str] = "conv_thumb2"
    feature: ClassVar[str] = "thumb2"
    kernels: ClassVar[MicroKernels] = thumb2.KERNELS


KERNELS = (ConvThumb1(), ConvThumb2())
