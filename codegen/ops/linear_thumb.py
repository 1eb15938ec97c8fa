# SPDX-License-Identifier: Apache-2.0
"""Matrix times vector for Cortex-M0, M0+ and M3: the convolution's dot products of one pixel."""

from __future__ import annotations

from typing import ClassVar

from plinio_deploy.codegen import thumb1, thumb2
from plinio_deploy.codegen.thumb import MicroKernels, ProductsKernel
from plinio_deploy.network import Conv, Linear


class LinearThumb1(ProductsKernel):
    """Four outputs at a time."""

    name: ClassVar[str] = "linear_thumb1"
    template: ClassVar[str | None] = "ops/linear_thumb.c.j2"
    kind: ClassVar[type[Conv | Linear]] = Linear
    feature: ClassVar[str] = "thumb1"
    kernels: ClassVar[MicroKernels] = thumb1.KERNELS


class LinearThumb2(LinearThumb1):
    """The same for Cortex-M3."""

    name: ClassVar[str] = "linear_thumb2"
    feature: ClassVar[str] = "thumb2"
    kernels: ClassVar[MicroKernels] = thumb2.KERNELS


KERNELS = (LinearThumb1(), LinearThumb2())
