# SPDX-License-Identifier: Apache-2.0
"""Element-wise addition, in plain C."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from plinio_deploy.codegen.emit import Emitter, literal
from plinio_deploy.codegen.expression import add, mul
from plinio_deploy.codegen.kernel import Kernel, Site, elements_cost, same_layout
from plinio_deploy.network import Add, AddRescale, TfliteAdd


class AddPlain(Kernel):
    """Our add: one multiply per input, one rounding."""

    name: ClassVar[str] = "add_plain"
    template: ClassVar[str | None] = "ops/elementwise.c.j2"

    def handles(self, site: Site) -> bool:
        """Adds of the ``hi32`` flavour."""
        return isinstance(site.op, Add) and isinstance(site.op.rescale, AddRescale)

    def cost(self, site: Site) -> float:
        """Two loads, two multiplies, a shift, a clamp and a store."""
        return elements_cost(site, 14.0)

    def in_place(self, site: Site) -> tuple[int, ...]:
        """Inputs that lie in memory as the output does: each byte is read before it is written."""
        return tuple(i for i, tensor in enumerate(site.inputs) if same_layout(tensor, site.output))

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """See ``templates/ops/elementwise.c.j2``."""
        assert isinstance(site.op, Add)
        rescale = site.op.rescale
        assert isinstance(rescale, AddRescale)
        products = [mul(name, factor) for name, factor in zip("ab", rescale.multipliers, strict=True)]
        offset = rescale.offset
        total = f"{' + '.join(products)} + {literal(offset)}" if offset == -(1 << 31) else add(*products, offset)
        shifted = f"({total}) >> {rescale.shift}" if rescale.shift else total
        return {
            "variables": ("a", "b"),
            "start": "0",
            "code": f"{emitter.helper('clamp')}({shifted}, {rescale.clamp[0]}, {rescale.clamp[1]})",
        }


class AddTflite(AddPlain):
    """TensorFlow Lite's add."""

    name: ClassVar[str] = "add_tflite"

    def handles(self, site: Site) -> bool:
        """Adds of the ``tflite`` flavour."""
        return isinstance(site.op, Add) and isinstance(site.op.rescale, TfliteAdd)

    def cost(self, site: Site) -> float:
        """Three Q31 multiplies with their roundings."""
        return elements_cost(site, 60.0)

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """See ``templates/ops/elementwise.c.j2``."""
        assert isinstance(site.op, Add)
        rescale = site.op.rescale
        assert isinstance(rescale, TfliteAdd)
        rounding = "double" if rescale.double_rounding else "single"
        multiply = emitter.helper(f"multiply_{rounding}")
        terms = [
            f"{multiply}({mul(add(name, -tensor.zero_point), 1 << rescale.left_shift)}, "
            f"{rescale.multipliers[i]}, {rescale.shifts[i]})"
            for i, (name, tensor) in enumerate(zip("ab", site.inputs, strict=True))
        ]
        requantize = emitter.helper(f"requantize_{rounding}")
        tail = f"{site.output.zero_point}, {rescale.clamp[0]}, {rescale.clamp[1]}"
        return {
            "variables": ("a", "b"),
            "start": "0",
            "code": f"{requantize}({' + '.join(terms)}, {rescale.multipliers[2]}, {rescale.shifts[2]}, {tail})",
        }


KERNELS = (AddPlain(), AddTflite())
