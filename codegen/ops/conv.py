# SPDX-License-Identifier: Apache-2.0
"""Convolution: dense, grouped or 1-D, in plain C."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from plinio_deploy.codegen import pack, weighted
from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.expression import add, mul
from plinio_deploy.codegen.kernel import Kernel, Site
from plinio_deploy.codegen.pack import Array
from plinio_deploy.codegen.window import Window, window
from plinio_deploy.network import Conv


def conv_window(op: Conv, site: Site) -> Window:
    """The window of a convolution.

    The bias already holds ``-zero_point * w`` for every tap, so a padded tap has to bring ``zero_point * w``: nothing
    if the zero point is 0, and the tap is skipped; otherwise it is visited and reads a row of zero points.
    """
    source = site.inputs[0]
    plain = window(op, source, site.output)
    return window(op, source, site.output, all_taps=plain.clipped and source.zero_point != 0)


def conv_arrays(op: Conv, site: Site) -> tuple[Array, ...]:
    """Arrays of any plain convolution."""
    found = weighted.arrays(op, "({}, {}, {})".format(*op.weights.codes.shape[1:]))
    if not conv_window(op, site).all_taps:
        return found
    source = site.inputs[0]
    values = tuple(pack.pixel_of(source, source.zero_point))
    ctype = Emitter.ctype(source)
    if ctype == "int8_t":
        values = (source.zero_point,) * source.channels
    return (*found, Array("_pad", ctype, values, "a pixel of zero points, read by padded taps"))


class ConvPlain(Kernel):
    """One output after another, one tap after another."""

    name: ClassVar[str] = "conv_plain"
    template: ClassVar[str | None] = "ops/conv.c.j2"

    def handles(self, site: Site) -> bool:
        """Every convolution."""
        return isinstance(site.op, Conv)

    def cost(self, site: Site) -> float:
        """Two loads, a multiply-add and the loop per MAC; short inner loops cost more."""
        assert isinstance(site.op, Conv)
        return weighted.cost(site, 6.0 + 8.0 / site.op.weights.codes.shape[3])

    def arrays(self, site: Site) -> tuple[Array, ...]:
        """Weights, biases, multipliers, and a pixel of zero points if padded taps read one."""
        assert isinstance(site.op, Conv)
        return conv_arrays(site.op, site)

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """See ``templates/ops/conv.c.j2``."""
        op = site.op
        assert isinstance(op, Conv)
        win = conv_window(op, site)
        per_group = op.weights.codes.shape[3]
        channel = "c" if per_group > 1 else "0"
        return {
            **weighted.variables(site, op, emitter),
            "win": win,
            "pad": emitter.array("_pad"),
            "per_group": per_group,
            "first": mul(f"oc / {op.weights.out_channels // op.groups}", per_group) if op.groups > 1 else "",
            "channel": add("first" if op.groups > 1 else 0, channel),
            "k": add(mul(win.tap, per_group), channel),
        }


KERNELS = (ConvPlain(),)
