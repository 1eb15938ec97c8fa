# SPDX-License-Identifier: Apache-2.0
"""Dot products for Arm's cores without packed arithmetic: Cortex-M0, M0+ (`thumb1`) and M3 (`thumb2`).

Two pixels by four channels at a time. Codes and weights are multiplied as unsigned numbers, which load with an
offset in the instruction: a signed code has its top bit flipped, a weight of b bits has 2^(b - 1) added. Biases make up
for the former, the sum of the patch, which is taken as it is copied, for the latter.

Weights of 4 and 2 bits are multiplied two at a time: ``(w0 + w1 * 2^16) * x``. Sixteen such products add up without a
carry between the halves (16 * 15 * 255 < 2^16). Every sixteen steps the sums T of a pair are put aside; in the end S,
their sum modulo 2^32, and H, the sum of their upper halves, give both channels: ``H`` and ``S - H * 2^16``.

Weights lie in the order in which they are read, by groups of four channels: for each step along K four bytes; or a word
for two (4 bits) or four (2 bits) steps, digit ``2 * step + pair`` of its lower half for channels 0 and 2, of its upper
half for 1 and 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from plinio_deploy.codegen import runs
from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Kernel, Site
from plinio_deploy.codegen.pack import Array, int32_array
from plinio_deploy.codegen.runs import CHANNELS, Run
from plinio_deploy.fixedpoint import accumulator_range, wrap_int32
from plinio_deploy.network import Conv, Hi32, Linear, Tensor

STEPS = {8: 8, 4: 16, 2: 16}
"""Steps along K that are written one after another; for packed weights, products that add up without a carry."""
LARGEST = 32000
"""Of lengths and channels: twice as much is a constant of 16 bits in the assembly."""

Lines = list[str]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Products:
    """Dot products of a layer.

    Attributes:
        depth: length of a dot product.
        padded: the same, rounded up to whole blocks of steps.
        pixels: 1 or 2, interleaved code by code.
        row_bytes: output bytes from a pixel to the next one, before they are packed.
        aside: whether some weights have fewer than 8 bits, so that sums are put aside.
        packed: whether output codes have fewer than 8 bits, so that they are packed afterwards.
        shift: left shift of the sum of products.
        wide: whether a product with the multiplier can exceed 47 bits.
        zero_point, low, high: of the output.
    """

    depth: int
    padded: int
    pixels: int
    row_bytes: int
    aside: bool
    packed: bool
    shift: int
    wide: bool
    zero_point: int
    low: int
    high: int

    @property
    def sums(self) -> int:
        """Bytes of scratch before the sums of the patches."""
        return self.padded * self.pixels

    @property
    def codes(self) -> int:
        """Bytes of scratch before codes that are packed afterwards."""
        return self.sums + 4 * self.pixels + (8 * self.pixels * (self.padded // 16) if self.aside else 0)

    @property
    def scratch_bytes(self) -> int:
        """Patches, their sums, what is put aside, and codes before they are packed."""
        return self.codes + (self.row_bytes * self.pixels if self.packed else 0)


def can_multiply(op: Conv | Linear, source: Tensor, output: Tensor) -> bool:
    """Whether the kernels here compute a layer exactly: one high-word product, rows of codes that end with a byte."""
    whole = source.channels * source.bits % 8 == 0
    whole = whole and max(op.weights.codes.size // op.weights.out_channels, output.channels) < LARGEST
    return whole and isinstance(op.requant, Hi32)


def widths_of(op: Conv | Linear) -> tuple[int, ...]:
    """Bits as which the weights of each channel are packed."""
    return runs.packed_widths(op.weights.bits)


def products_of(op: Conv | Linear, source: Tensor, output: Tensor, pixels: int) -> Products:
    """The dot products of a layer."""
    assert isinstance(op.requant, Hi32)
    flat = op.weights.codes.reshape(op.weights.out_channels, -1)
    widths = widths_of(op)
    steps = max(STEPS[bits] for bits in widths)
    shift = op.requant.shift
    low, high = accumulator_range(flat, np.zeros(flat.shape[0], dtype=np.int64), (source.qmin, source.qmax))
    peak = (np.maximum(np.abs(low), np.abs(high)) << shift) + np.abs(op.bias.astype(np.int64))
    wide = any(int(p) * int(m) >= 1 << 46 for p, m in np.broadcast(peak, op.requant.multiplier))
    return Products(
        depth=flat.shape[1],
        padded=-(-flat.shape[1] // steps) * steps,
        pixels=pixels,
        row_bytes=output.channels,
        aside=any(bits < 8 for bits in widths),
        packed=output.bits < 8,
        shift=shift,
        wide=wide,
        zero_point=output.zero_point,
        low=op.requant.clamp[0],
        high=op.requant.clamp[1],
    )


def runs_of(op: Conv | Linear, padded: int) -> tuple[Run, ...]:
    """The runs of a layer, in order: words of weights, and two constants per channel."""
    return runs.runs_of(widths_of(op), lambda bits: padded * bits // 32, 2)


def arrays(op: Conv | Linear, source: Tensor, layout: Products) -> tuple[Array, ...]:
    """Weights in reading order as words; biases and multipliers, channel by channel."""
    flat = op.weights.codes.reshape(op.weights.out_channels, -1).astype(np.int64)
    bias = wrap_int32(op.bias.astype(np.int64) - (-source.qmin * flat.sum(axis=1) << layout.shift))
    multiplier = np.broadcast_to(op.requant.multiplier.astype(np.int64), bias.shape)
    words: list[int] = []
    constants: list[int] = []
    for run in runs_of(op, layout.padded):
        channels = slice(run.first, run.first + run.channels)
        words += _pack(flat[channels], run.bits, layout.padded)
        pairs = np.zeros((run.whole, 2), dtype=np.int64)
        pairs[: run.channels] = np.stack([bias[channels], multiplier[channels]], axis=1)
        constants += pairs.ravel().tolist()
    return (
        Array("_w", "uint32_t", tuple(words), "unsigned weights of four channels along K, then of the next four"),
        int32_array("_q", constants, "per channel: bias, multiplier"),
    )


def _pack(flat: IntArray, bits: int, padded: int) -> list[int]:
    """Weights of a run as words; what is missing is multiplied by zeros."""
    groups = -(-flat.shape[0] // CHANNELS)
    digits = np.zeros((groups * CHANNELS, padded), dtype=np.int64)
    digits[: flat.shape[0], : flat.shape[1]] = flat + (1 << (bits - 1))
    steps = 8 // bits
    split = digits.reshape(groups, CHANNELS, padded // steps, steps).transpose(0, 2, 3, 1)
    if bits == 8:
        places = np.array([[0, 8, 16, 24]])
    else:
        places = np.array(
            [[2 * step * bits + (c // 2) * bits + (c % 2) * 16 for c in range(4)] for step in range(steps)]
        )
    found: list[int] = (split << places).sum(axis=(2, 3)).ravel().tolist()
    return found


@dataclass(frozen=True)
class MicroKernels:
    """The assembly of one instruction set.

    Attributes:
        guard: what a compiler defines that takes it.
        products: lines of a micro-kernel: one or two pixels by a run of channels, called as ``(x, w, q, out,
            channels)``, the sums of the patches behind them. Of a layout, the run's width of weights, and whether
            ``channels`` may be other than a multiple of 4.
        gather: lines that copy codes to every ``pixels``-th byte, as unsigned ones (``flip``: they are signed), and
            return their sum; called as ``(to, from, n)``.
        steps: instructions per product by width of weights, of one pixel and of two.
        code: instructions per output code, less what the estimates of plain kernels leave out on that core.
    """

    guard: str
    products: Callable[[Products, int, bool], Lines]
    gather: Callable[[int, bool], Lines]
    steps: tuple[dict[int, float], dict[int, float]]
    code: float


def variables(
    op: Conv | Linear, source: Tensor, layout: Products, emitter: Emitter, kernels: MicroKernels
) -> dict[str, object]:
    """What ``parts/thumb_products.c.j2`` and its callers need."""
    parts = runs_of(op, layout.padded)
    return {
        "layout": layout,
        "flip": -source.qmin,
        "runs": parts,
        "guard": kernels.guard,
        "gather": kernels.gather(layout.pixels, source.signed),
        "kernels": [(bits, kernels.products(layout, bits, part)) for bits, part in runs.widths_of(parts).items()],
        "weights": emitter.array("_w"),
        "constants": emitter.array("_q"),
    }


class ProductsKernel(Kernel):
    """A layer of dot products: of two pixels at a time if it has as many, else of one.

    Attributes:
        kind: class of the op.
        feature: the instruction set.
        kernels: its assembly.
    """

    kind: ClassVar[type[Conv | Linear]]
    parts: ClassVar[str | None] = "parts/thumb_products.c.j2"
    feature: ClassVar[str]
    kernels: ClassVar[MicroKernels]

    def handles(self, site: Site) -> bool:
        """Ungrouped convolutions and matrix products."""
        op = site.op
        if self.feature not in site.isa or not isinstance(op, self.kind) or (isinstance(op, Conv) and op.groups > 1):
            return False
        return can_multiply(op, site.inputs[0], site.output)

    def cost(self, site: Site) -> float:
        """Products, requantization, and copying the patches."""
        op, layout = self.operands(site)
        places = site.output.elements // site.output.channels
        per_step = self.kernels.steps[layout.pixels - 1]
        products = sum(run.whole * per_step[run.bits] for run in runs_of(op, layout.padded))
        codes = self.kernels.code * site.output.channels
        return places * (products * layout.padded + codes + 4.0 * layout.depth + 60.0)

    def scratch_bytes(self, site: Site) -> int:
        """Patches as unsigned bytes, and sums."""
        return self.operands(site)[1].scratch_bytes

    def arrays(self, site: Site) -> tuple[Array, ...]:
        """Weights in reading order; biases and multipliers."""
        op, layout = self.operands(site)
        return arrays(op, site.inputs[0], layout)

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """What ``parts/thumb_products.c.j2`` and its callers need."""
        op, layout = self.operands(site)
        return variables(op, site.inputs[0], layout, emitter, self.kernels)

    @staticmethod
    def operands(site: Site) -> tuple[Conv | Linear, Products]:
        """The op and its dot products."""
        assert isinstance(site.op, Conv | Linear)
        pixels = 1 if site.output.elements == site.output.channels else 2
        return site.op, products_of(site.op, site.inputs[0], site.output, pixels)
