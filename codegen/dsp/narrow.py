# SPDX-License-Identifier: Apache-2.0
"""Matrix products whose channels share a multiplier: it is written once, and what is left lies among the weights.

What the accumulators of a block start with comes before its weights, so that one pointer reads both. Beside weights of
8 bits these are biases of two bytes: multiples of a power of two, the unit, that fit 16 bits in units, two in a word.
It takes up to seven instructions more to start four accumulators than words would. Weights of 4 and 2 bits leave flash
for those: one instruction loads the four starts. `plinio_deploy.integerize` makes such biases where steps of weights
are shared (``QuantConfig.linear_scales``). Multiplier and unit lie behind the sizes of a run.
"""

from __future__ import annotations

from collections.abc import Sequence

from plinio_deploy.codegen.dsp.blocks import CHAIN2, CHANNELS, Run


def words(run: Run) -> int:
    """Of the stack: multiplier, unit."""
    return run.narrow + run.short


def holds_end(run: Run) -> bool:
    """Whether lr holds the end of the patch throughout: three accumulators of one pixel leave it alone."""
    return run.narrow and run.variant.chain


def prologue(run: Run, place: int) -> list[str]:
    """Put multiplier and unit, to which r3 points, on the stack at ``place``."""
    if run.short:
        return ["ldrd r12, lr, [r3]", f"strd r12, lr, [sp, #{place}]"]
    return ["ldr r12, [r3]", f"str r12, [sp, #{place}]"]


def aligned(run: Run) -> list[str]:
    """Let a block begin at a whole word; turns then do, too. A jump to an instruction across two words takes longer."""
    return [".balign 4"] if run.narrow else []


def start(acc: Sequence[str], run: Run, place: int) -> list[str]:
    """Where the accumulators of one pixel start, as ``blocks`` would store them; moves r1 on to the weights.

    Args:
        acc: four accumulators, of ascending numbers.
        run: what they hold.
        place: that of multiplier and unit.
    """
    if not run.short:
        wide = ".w" if run.variant is CHAIN2 else ""  # followed by one short instruction instead of none
        return [f"ldm{wide} r1!, {{{', '.join(acc)}}}"]
    lines = ["ldrd r3, r12, [r1], #8", f"ldr r2, [sp, #{place + 4}]"]
    for lane, register in enumerate(acc):
        lines += [f"smul{'tb' if lane % 2 else 'bb'} {register}, {('r3', 'r12')[lane // 2]}, r2"]
    for lane, (below, scale) in enumerate(zip(run.variant.below, run.variant.scales, strict=True)):
        lines += [f"add {acc[lane]}, {acc[below]}, {acc[lane]}, lsl #{scale}"] if below is not None else []
    return lines


def multipliers(place: int) -> tuple[list[str], tuple[str, ...]]:
    """The instruction that fetches the multiplier, and the register that holds it, for each channel."""
    return [f"ldr r0, [sp, #{place}]"], ("r0",) * CHANNELS
