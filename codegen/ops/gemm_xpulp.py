# SPDX-License-Identifier: Apache-2.0
"""Dense convolutions and linear layers on CV32E40P with its PULP extension.

Four pixels by four channels by four taps: eight loads and sixteen dot products of four bytes per 64 products, in a
hardware loop. Weights below 8 bits are spread to bytes by shifts of all bytes of a word at once, once for four pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Kernel, Site
from plinio_deploy.codegen.ops.gemm_rv32 import RunCode, byte_type, output_of, patch_cost
from plinio_deploy.codegen.pack import Array
from plinio_deploy.codegen.rv32 import xpulp
from plinio_deploy.codegen.rv32.gemm import Gemm, block_pixels, gemm_of, requant_array


class GemmXpulp(Kernel):
    """A matrix product with `cv.sdotsp.b`."""

    name: ClassVar[str] = "gemm_xpulp"
    template: ClassVar[str | None] = "ops/gemm_rv32.c.j2"
    parts: ClassVar[str | None] = "parts/rv32_gemm.c.j2"

    def handles(self, site: Site) -> bool:
        """Convolutions of one group and linear layers, `Hi32`."""
        return "xpulp" in site.isa and gemm_of(site) is not None

    def cost(self, site: Site) -> float:
        """Cycles."""
        gemm = _gemm(site)
        pixels = block_pixels(gemm, 4)
        block = _block(gemm)
        total = patch_cost(gemm) + 10.0 * site.output.elements
        for run in gemm.runs:
            unpack = {8: 1.0, 4: 2.0, 2: 2.0}[run.bits]
            per_tap = (pixels + block * unpack + pixels * block) / (4 * pixels * block)
            total += gemm.pixels * (run.end - run.first) * gemm.padded_depth * per_tap
        return total

    def scratch_bytes(self, site: Site) -> int:
        """Patches, and codes before they are packed."""
        gemm = _gemm(site)
        return block_pixels(gemm, 4) * ((0 if gemm.direct else gemm.pitch) + gemm.tile_bytes)

    def arrays(self, site: Site) -> tuple[Array, ...]:
        """Weights, then biases and multipliers."""
        gemm = _gemm(site)
        words = [
            word for run in gemm.runs for word in xpulp.pack_words(gemm.rows(run), run.bits, _block(gemm))
        ]  # fmt: skip
        comment = f"weights: blocks of {_block(gemm)} channels, four taps, channels; a byte per tap"
        return Array("_w", "uint32_t", tuple(words), comment), requant_array(gemm.op)

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """See ``templates/ops/gemm_rv32.c.j2``."""
        gemm = _gemm(site)
        pixels = block_pixels(gemm, 4)
        return {
            **gemm.variables(emitter),
            "step": pixels,
            "pairs": 0,
            "keep_patches": True,
            "words_at": 0,
            "patches_at": 0,
            "tile_at": 0 if gemm.direct else pixels * gemm.pitch,
            "xtype": byte_type(gemm),
            "runs": _run_codes(gemm),
        }


def _gemm(site: Site) -> Gemm:
    gemm = gemm_of(site)
    assert gemm is not None
    return gemm


def _block(gemm: Gemm) -> int:
    return min(8, 16 // block_pixels(gemm, 4))


def _run_codes(gemm: Gemm) -> list[RunCode]:
    output, pixels, block = output_of(gemm), block_pixels(gemm, 4), _block(gemm)
    offset = 0
    found = []
    for index, run in enumerate(gemm.runs):
        channels = run.end - run.first
        lines = xpulp.products(
            channels, run.bits, block, pixels, gemm.padded_depth, gemm.pitch, output, signed=gemm.site.inputs[0].signed
        )
        found.append(
            RunCode(
                f"run{index}", "xpulp", run.bits, run.first, channels, block, pixels, pixels, 0,
                output.pitch, byte_type(gemm), "uint32_t", "_w", offset, tuple(lines),
            )
        )  # fmt: skip
        offset += len(xpulp.pack_words(gemm.rows(run), run.bits, block))
    return found


KERNELS = (GemmXpulp(),)
