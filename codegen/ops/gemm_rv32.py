# SPDX-License-Identifier: Apache-2.0
"""Dense convolutions and linear layers on RV32IM: blocks of pixels times channels in registers.

8-bit weights: four pixels by four channels, eight loads for sixteen products. Below 8 bits: eight pixels by four
channels, two products per multiplication (`rv32.swar`). Where a layer mixes widths, each run of channels has its own
micro-kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Kernel, Site
from plinio_deploy.codegen.pack import Array, Run
from plinio_deploy.codegen.rv32 import assembly, swar
from plinio_deploy.codegen.rv32.gemm import Gemm, block_pixels, gemm_of, requant_array
from plinio_deploy.network import Hi32

CODE_CYCLES = 14.0
"""Per output code: scale, saturate, store."""


@dataclass(frozen=True)
class RunCode:
    """A run of channels and the micro-kernel that computes it.

    Attributes:
        name: of the micro-kernel, behind the layer's symbol.
        mode: ``bytes``, ``swar`` or ``xpulp``.
        bits: of its weights.
        first: its first channel.
        channels: how many.
        block: channels at a time.
        pixels: pixels of a call.
        stored: pixels whose codes a call stores; fewer than ``pixels`` if the layer has but one.
        group: taps between two flushes (``swar``).
        out_pitch: bytes between pixels where codes are stored.
        xtype: element type of the patches.
        wtype: element type of the weights.
        array: suffix of the array of weights.
        offset: of the run's weights in it, in elements.
        lines: assembly.
    """

    name: str
    mode: str
    bits: int
    first: int
    channels: int
    block: int
    pixels: int
    stored: int
    group: int
    out_pitch: int
    xtype: str
    wtype: str
    array: str
    offset: int
    lines: tuple[str, ...]


def output_of(gemm: Gemm) -> assembly.Output:
    """How the layer's sums become codes."""
    requant = gemm.op.requant
    assert isinstance(requant, Hi32)
    low, high = requant.clamp
    return assembly.Output(gemm.channels, gemm.site.output.zero_point - low, low, high - low, requant.shift)


def byte_type(gemm: Gemm) -> str:
    """Element type of patches of bytes."""
    return "int8_t" if gemm.site.inputs[0].signed else "uint8_t"


def patch_cost(gemm: Gemm) -> float:
    """Cycles of gathering all patches."""
    return 0.0 if gemm.direct else gemm.pixels * (30.0 + gemm.depth * (1.2 if gemm.site.inputs[0].bits == 8 else 8.0))


class GemmRv32(Kernel):
    """A matrix product on RV32IM."""

    name: ClassVar[str] = "gemm_rv32"
    template: ClassVar[str | None] = "ops/gemm_rv32.c.j2"
    parts: ClassVar[str | None] = "parts/rv32_gemm.c.j2"

    def handles(self, site: Site) -> bool:
        """Convolutions of one group and linear layers, `Hi32`."""
        return "rv32im" in site.isa and gemm_of(site) is not None

    def cost(self, site: Site) -> float:
        """Cycles on a core that takes one per instruction."""
        gemm = _gemm(site)
        total = patch_cost(gemm) + CODE_CYCLES * site.output.elements
        for run in gemm.runs:
            products = gemm.pixels * (run.end - run.first) * gemm.padded_depth
            if run.bits == 8:
                pixels = block_pixels(gemm, 4)
                total += products * (2.1 + 1 / pixels + pixels / 16)
            else:
                pairs = _pairs(gemm)
                total += products * (1.15 + 1.2 / pairs) + gemm.pixels * gemm.padded_depth * 2.7
        return total

    def scratch_bytes(self, site: Site) -> int:
        """Patches, words of two pixels, codes before they are packed."""
        return _Plan(_gemm(site)).end

    def arrays(self, site: Site) -> tuple[Array, ...]:
        """Weights of runs of 8 bits, of narrower runs, then biases and multipliers."""
        gemm = _gemm(site)
        octets, words = [], []
        for run in gemm.runs:
            if run.bits == 8:
                octets += _interleaved(gemm, run)
            else:
                words += swar.pack_words(gemm.rows(run), run.bits)
        found = []
        if octets:
            block = _byte_block(gemm)
            comment = f"8-bit weights: blocks of {block} channels, taps, channels of a tap"
            found.append(Array("_w", "int8_t", tuple(octets), comment))
        if words:
            comment = "weights below 8 bits: blocks of 4 channels, taps, channels of a tap, from the lowest bits up"
            found.append(Array("_n", "uint32_t", tuple(words), comment))
        return (*found, requant_array(gemm.op))

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """See ``templates/ops/gemm_rv32.c.j2``."""
        gemm = _gemm(site)
        plan = _Plan(gemm)
        return {
            **gemm.variables(emitter),
            "step": plan.step,
            "pairs": plan.pairs,
            "keep_patches": plan.keep_patches,
            "words_at": 0,
            "patches_at": plan.patches_at,
            "tile_at": plan.tile_at,
            "xtype": byte_type(gemm),
            "runs": _run_codes(gemm, plan),
        }


def _gemm(site: Site) -> Gemm:
    gemm = gemm_of(site)
    assert gemm is not None
    return gemm


def _pairs(gemm: Gemm) -> int:
    """Pairs of pixels of a block: the most whose codes are within reach of one pointer."""
    pixels = 8
    while pixels > 2 and (pixels > gemm.pixels or (pixels - 1) * gemm.channels > assembly.IMMEDIATE):
        pixels //= 2
    return pixels // 2


def _byte_block(gemm: Gemm) -> int:
    return min(8, 16 // block_pixels(gemm, 4))


def _interleaved(gemm: Gemm, run: Run) -> list[int]:
    """Blocks of channels; within a block the weights of one tap lie side by side."""
    rows, block = gemm.rows(run), _byte_block(gemm)
    return [
        int(code) for first in range(0, len(rows), block) for code in rows[first : first + block].transpose().ravel()
    ]


class _Plan:
    """What one turn of the layer does, and where its scratch memory goes: words, patches, codes."""

    def __init__(self, gemm: Gemm) -> None:
        narrow = any(run.bits < 8 for run in gemm.runs)
        self.bytes_at_once = block_pixels(gemm, 4)
        self.pairs = _pairs(gemm) if narrow else 0
        self.step = min(2 * self.pairs or self.bytes_at_once, gemm.pixels)
        if narrow and gemm.pixels == 1:
            self.step = 1
        self.keep_patches = any(run.bits == 8 for run in gemm.runs)
        self.patches_at = 4 * self.pairs * gemm.padded_depth
        kept = self.step if self.keep_patches else min(2, self.step)
        self.tile_at = self.patches_at + (0 if gemm.direct else kept * gemm.pitch)
        self.end = self.tile_at + self.step * gemm.tile_bytes


def _run_codes(gemm: Gemm, plan: _Plan) -> list[RunCode]:
    source, output, depth = gemm.site.inputs[0], output_of(gemm), gemm.padded_depth
    octets = words = 0
    found = []
    for index, run in enumerate(gemm.runs):
        channels, name = run.end - run.first, f"run{index}"
        if run.bits == 8:
            block, pixels = _byte_block(gemm), min(plan.bytes_at_once, plan.step)
            lines = assembly.byte_products(channels, block, pixels, depth, gemm.pitch, output, signed=source.signed)
            mode, group, xtype, wtype, array, offset = "bytes", 0, byte_type(gemm), "int8_t", "_w", octets
            octets += channels * depth
            stored = pixels
        else:
            rows = gemm.rows(run)
            group, pixels = swar.group_taps(rows, source.qmin, source.qmax), 2 * plan.pairs
            stored = plan.step
            lines = swar.products(channels, run.bits, plan.pairs, stored, depth, group, output)
            mode, block, xtype, wtype, array, offset = "swar", swar.CHANNELS, "uint32_t", "uint32_t", "_n", words
            words += -(-channels // swar.CHANNELS) * swar.CHANNELS * depth * run.bits // 32
        found.append(
            RunCode(
                name, mode, run.bits, run.first, channels, block, pixels, stored, group, output.pitch, xtype, wtype,
                array, offset, tuple(lines),
            )
        )  # fmt: skip
    return found


KERNELS = (GemmRv32(),)
