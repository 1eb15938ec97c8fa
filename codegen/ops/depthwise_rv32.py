# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolution on RV32IM, and on CV32E40P with its PULP extension (`rv32.depthwise`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Kernel, Site
from plinio_deploy.codegen.pack import Array
from plinio_deploy.codegen.rv32 import depthwise
from plinio_deploy.codegen.rv32.assembly import IMMEDIATE, Output
from plinio_deploy.codegen.rv32.gemm import requant_array
from plinio_deploy.codegen.window import Axis, Window, window
from plinio_deploy.network import Conv, Hi32


class DepthwiseRv32(Kernel):
    """Up to four pixels of a row at a time.

    Weights below 8 bits are stored as bytes: they are few, and every one is used for each pixel.
    """

    name: ClassVar[str] = "depthwise_rv32"
    template: ClassVar[str | None] = "ops/depthwise_rv32.c.j2"
    parts: ClassVar[str | None] = "parts/rv32_depthwise.c.j2"
    feature: ClassVar[str] = "rv32im"
    cycles: ClassVar[tuple[float, float]] = (3.0, 25.0)
    """Per product, and per output."""

    def handles(self, site: Site) -> bool:
        """Bytes in and out, as many channels out as in, windows of nine taps at most, `Hi32`."""
        op = site.op
        if self.feature not in site.isa or not isinstance(op, Conv) or not op.is_depthwise:
            return False
        simple = isinstance(op.requant, Hi32) and op.dilation == (1, 1)
        small = op.kernel[0] <= depthwise.MOST_ROWS and op.kernel[0] * op.kernel[1] <= depthwise.MOST_TAPS
        bytes_only = site.inputs[0].bits == site.output.bits == 8
        near = (op.kernel[1] - 1) * site.output.channels <= IMMEDIATE
        return simple and small and bytes_only and near and op.groups == op.weights.out_channels

    def cost(self, site: Site) -> float:
        """Cycles."""
        return self.cycles[0] * site.macs + self.cycles[1] * site.output.elements

    def scratch_bytes(self, site: Site) -> int:
        """A piece of a row of padding, and the window of a pixel at the border."""
        plan = _Plan(self, site)
        return plan.padding_bytes + plan.patch_bytes

    def arrays(self, site: Site) -> tuple[Array, ...]:
        """Weights, then biases and multipliers."""
        op = site.op
        assert isinstance(op, Conv)
        codes = tuple(int(code) for code in op.weights.codes.ravel())
        return Array("_w", "int8_t", codes, "per channel its window of weights, a byte each"), requant_array(op)

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:  # noqa: ARG002 - nothing of its name is used
        """See ``templates/ops/depthwise_rv32.c.j2``."""
        plan = _Plan(self, site)
        calls = [(f"pixels{count}", count, depthwise.products(plan.row, count)) for count in plan.counts]
        return {
            "win": plan.win,
            "plan": plan,
            "calls": calls,
            "source": site.inputs[0],
            "zero_point": site.inputs[0].zero_point,
        }


class DepthwiseXpulp(DepthwiseRv32):
    """The same with multiply-accumulate and clip in one instruction each."""

    name: ClassVar[str] = "depthwise_xpulp"
    feature: ClassVar[str] = "xpulp"
    cycles: ClassVar[tuple[float, float]] = (2.0, 20.0)


class _Plan:
    """Which pixels are computed in blocks, which one by one, and the scratch memory."""

    def __init__(self, kernel: DepthwiseRv32, site: Site) -> None:
        op, source = site.op, site.inputs[0]
        assert isinstance(op, Conv)
        self.win: Window = window(op, source, site.output, all_taps=True)
        assert isinstance(op.requant, Hi32)
        low, high = op.requant.clamp
        self.output = Output(site.output.channels, site.output.zero_point - low, low, high - low, op.requant.shift)
        self.channels = site.output.channels
        pulp = kernel.feature == "xpulp"
        self.row = depthwise.Row(self.channels, op.kernel, op.stride[1], source.signed, self.output, pulp)
        self.begin, self.end = _inside(self.win.x)
        self.block = self.row.pixels(max(1, self.end - self.begin))
        self.borders = [pixel for pixel in range(self.win.x.output) if not self.begin <= pixel < self.end]
        blocks = {self.block} if self.end > self.begin else set()
        self.counts = sorted(blocks | ({1} if self.borders else set()))
        columns = (self.block - 1) * op.stride[1] + op.kernel[1]
        self.padding_bytes = columns * self.channels if self.win.y.clipped and self.end > self.begin else 0
        self.patch_bytes = op.kernel[0] * op.kernel[1] * self.channels if self.borders else 0


def _inside(axis: Axis) -> tuple[int, int]:
    """The output elements whose whole window lies inside the input; ``(0, 0)`` if there is none."""
    whole = np.array([axis.inside(index) == range(axis.kernel) for index in range(axis.output)])
    found = np.flatnonzero(whole)
    return (int(found[0]), int(found[-1]) + 1) if found.size else (0, 0)


KERNELS = (DepthwiseRv32(), DepthwiseXpulp())
