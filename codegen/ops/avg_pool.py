# SPDX-License-Identifier: Apache-2.0
"""Average pooling, in plain C."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Kernel, Site, elements_cost
from plinio_deploy.codegen.window import window
from plinio_deploy.network import AvgPool, Hi32, Tflite


class AvgPoolPlain(Kernel):
    """Our average: the sum over the whole window, padding as the zero point, then one requantization."""

    name: ClassVar[str] = "avg_pool_plain"
    template: ClassVar[str | None] = "ops/avg_pool.c.j2"

    def handles(self, site: Site) -> bool:
        """Average pools of the ``hi32`` flavour."""
        return isinstance(site.op, AvgPool) and isinstance(site.op.requant, Hi32)

    def cost(self, site: Site) -> float:
        """Load, add and loop per element of the window."""
        assert isinstance(site.op, AvgPool)
        return elements_cost(site, 20.0 + 5.0 * site.op.kernel[0] * site.op.kernel[1])

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """See ``templates/ops/avg_pool.c.j2``."""
        op = site.op
        assert isinstance(op, AvgPool)
        win = window(op, site.inputs[0], site.output)
        requantizer = emitter.scalar_requantizer(op.requant, op.bias, site.output)
        zero_point = site.inputs[0].zero_point
        padded = f"{zero_point} * ({win.taps} - {win.visited})" if win.clipped and zero_point else ""
        return {"win": win, "start": requantizer.start, "code": requantizer.code, "padded": padded}


class AvgPoolTflite(AvgPoolPlain):
    """TensorFlow Lite's average: divided by the elements inside the input."""

    name: ClassVar[str] = "avg_pool_tflite"

    def handles(self, site: Site) -> bool:
        """Average pools of the ``tflite`` flavour."""
        return isinstance(site.op, AvgPool) and isinstance(site.op.requant, Tflite)

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """See ``templates/ops/avg_pool.c.j2``."""
        op = site.op
        assert isinstance(op, AvgPool)
        win = window(op, site.inputs[0], site.output)
        low, high = op.requant.clamp
        code = f"{emitter.helper('clamp')}({emitter.helper('average')}(acc, {win.visited}), {low}, {high})"
        return {"win": win, "start": "0", "code": code, "padded": ""}


KERNELS = (AvgPoolPlain(), AvgPoolTflite())
