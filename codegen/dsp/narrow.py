# SPDX-License-Identifier: Apache-2.0
"""Matrix products whose channels share a multiplier: two bytes of constants per channel instead of eight.

Biases that are multiples of a power of two, the unit, and fit 16 bits in units are stored so, two in a word; the
unit and the multiplier are written once, behind the sizes of a run. `plinio_deploy.integerize` makes such biases where
steps of weights are shared (``QuantConfig.linear_scales``). A block then takes up to six instructions more to
start its accumulators, and two fewer to requantize them.
"""

from __future__ import annotations

from collections.abc import Sequence

from plinio_deploy.codegen.dsp.blocks import CHANNELS, MASKS, Variant

WORDS = 2
"""Of the stack: unit and multiplier."""


def prologue(place: int) -> list[str]:
    """Put unit and multiplier on the stack at ``place``; r3 points to them, then behind them."""
    return ["ldrd r12, lr, [r3], #8", f"strd r12, lr, [sp, #{place}]"]


def start(acc: Sequence[str], variant: Variant, constants: int, place: int) -> list[str]:
    """Where the accumulators of one pixel start, as ``blocks`` would store them; leaves r0 and r1 alone.

    Args:
        acc: four accumulators.
        variant: what they hold.
        constants: place on the stack of the pointer to biases, which moves on.
        place: that of unit and multiplier.
    """
    lines = [f"ldr r2, [sp, #{constants}]", "ldrd r3, r12, [r2], #8", f"str r2, [sp, #{constants}]"]
    lines += [f"ldr r2, [sp, #{place}]"]
    for lane, register in enumerate(acc):
        lines += [f"smul{'tb' if lane % 2 else 'bb'} {register}, {('r3', 'r12')[lane // 2]}, r2"]
    scales = variant.scales
    if variant.chain:
        first, p, q, v = acc
        lines += [f"add {q}, {p}, {q}, lsl #{scales[2]}", f"add {p}, {first}, {p}, lsl #{scales[1]}"]
        lines += [f"lsl {v}, {v}, #{scales[3]}" if scales[3] else f"add {v}, {v}, {first}, lsl #12"]
        mask = MASKS[variant.name]
        return [*lines, f"movw {first}, #{mask & 0xFFFF}", f"movt {first}, #{mask >> 16}"]
    for lane, (below, scale) in enumerate(zip(variant.below, scales, strict=True)):
        if below is not None:
            lines += [f"add {acc[lane]}, {acc[below]}, {acc[lane]}, lsl #{scale}"]
        elif scale:
            lines += [f"lsl {acc[lane]}, {acc[lane]}, #{scale}"]
    return lines


def multipliers(place: int) -> tuple[list[str], tuple[str, ...]]:
    """The instruction that fetches the multiplier, and the register that holds it, for each channel."""
    return [f"ldr r0, [sp, #{place + 4}]"], ("r0",) * CHANNELS
