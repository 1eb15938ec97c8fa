# SPDX-License-Identifier: Apache-2.0
"""What convolutions and matrix products have in common: which can be packed, what they cost, what templates need."""

from __future__ import annotations

from collections.abc import Mapping

from plinio_deploy.codegen.dsp import assembly, blocks, narrow
from plinio_deploy.codegen.dsp.assembly import Direct, Output
from plinio_deploy.codegen.dsp.blocks import CHANNELS, Run, Sums
from plinio_deploy.codegen.dsp.columns import Columns
from plinio_deploy.codegen.dsp.widening import counted, widen
from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Site
from plinio_deploy.codegen.pack import Array
from plinio_deploy.network import Conv, Hi32, Linear

WORD = {
    "raw8": 12.0,
    "digit8": 12.0,
    "wide8": 15.0,
    "wide4": 15.0,
    "raw2": 13.5,
    "chain8": 8.0,
    "chain4": 10.5,
    "chain2": 10.5,
}
"""Instructions per word of a patch of two pixels by four channels."""

BLOCK = 42.0
"""Instructions per block besides its products, of two pixels."""


def weighted(site: Site) -> Conv | Linear:
    """The op, which has weights."""
    assert isinstance(site.op, Conv | Linear)
    return site.op


def fits(site: Site, *, wide: bool = False) -> bool:
    """Whether the target has the instructions, and the layer's accumulators can be packed, ``wide``: as `CHAIN8`."""
    op = site.op
    if "dsp" not in site.isa or not isinstance(op, Conv | Linear):
        return False
    if not isinstance(op.requant, Hi32):
        return False
    return blocks.runs(op, blocks.sums(op, site.inputs[0]), wide=wide) is not None


def plan(site: Site, *, wide: bool) -> tuple[Sums, tuple[Run, ...]]:
    """The accumulators and the runs of a layer that `fits`."""
    op = weighted(site)
    found = blocks.sums(op, site.inputs[0])
    parts = blocks.runs(op, found, wide=wide)
    assert parts is not None
    return found, parts


def products_cost(site: Site, layout: Columns, pixels: int, *, direct: bool = False, wide: bool = False) -> float:
    """Estimated instructions of one call of ``products``."""
    _, parts = plan(site, wide=wide)
    total = 20.0 * len(parts)
    for run in parts:
        block = BLOCK if pixels == 2 else 0.7 * BLOCK
        word = WORD[run.variant.name] - (0.0 if pixels == 2 else 5.0) + (1.25 if direct else 0.0)
        if run.narrow:
            block += 3.0 if run.short else -4.0
        turn = 2.0 if narrow.holds_end(run) else 3.0
        total += run.blocks * (block + turn * layout.turns + layout.words * word)
    return total


def arrays(site: Site, layout: Columns, pixels: int, *, direct: bool = False, wide: bool = False) -> tuple[Array, ...]:
    """Packed weights and constants."""
    found, parts = plan(site, wide=wide)
    sizes = ((2 if direct else 4 * pixels) * layout.words, site.output.row_bytes)
    return blocks.arrays(weighted(site), layout, found, parts, sizes)


def output(site: Site, found: Sums) -> Output:
    """Where codes go."""
    tensor, requant = site.output, weighted(site).requant
    assert isinstance(requant, Hi32)
    low, high = found.codes
    return Output(
        bits=tensor.bits,
        signed=tensor.signed,
        offset=tensor.zero_point - tensor.qmin,
        low=requant.clamp[0] - tensor.qmin,
        high=requant.clamp[1] - tensor.qmin,
        shift=requant.shift,
        saturate=low < -(1 << 15) or high >= 1 << 15,
    )


def variables(
    site: Site, layout: Columns, pixels: int, emitter: Emitter, direct: Direct | None = None, *, wide: bool = False
) -> Mapping[str, object]:
    """What ``parts/dsp_products.c.j2`` needs."""
    found, parts = plan(site, wide=wide)
    source, requant = site.inputs[0], weighted(site).requant
    sums = any(run.variant.sums for run in parts)
    lanes = range(8 // source.bits)
    out = output(site, found)
    return {
        "layout": layout,
        "runs": list(zip(parts, blocks.places(layout, found, parts), strict=True)),
        "pixels": pixels,
        "direct": direct is not None,
        "sums": sums,
        "counted": counted(layout),
        "asm_widen": widen(layout, pixels, signed=source.signed, sums=sums),
        "kernels": {run.kernel: (run, assembly.products(pixels, layout, run, out, direct)) for run in parts},
        "shift": found.shift,
        "flip": sum(1 << (source.bits * (i + 1) - 1) for i in lanes) if source.signed else 0,
        "clamp": requant.clamp,
        "weights": emitter.array("_w"),
        "constants": emitter.array("_q"),
        "window": None,
        "channels_per_block": CHANNELS,
    }
