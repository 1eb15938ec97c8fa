# SPDX-License-Identifier: Apache-2.0
"""Micro-kernels of `thumb` for Cortex-M3 as text: every register, multiply-accumulate, products of 64 bits."""

from __future__ import annotations

from plinio_deploy.codegen import thumb1
from plinio_deploy.codegen.runs import CHANNELS
from plinio_deploy.codegen.thumb import STEPS, Lines, MicroKernels, Products

# Stack of a micro-kernel: accumulators; then what is kept from group to group.
_START, _END, _CONSTANTS, _OUT, _SUM, _FRAME = 32, 36, 40, 44, 48, 56
_COUNT = _FRAME + 36
"""The argument ``channels``, counted down."""


def products(layout: Products, bits: int, partial: bool) -> Lines:
    """See `thumb.MicroKernels`."""
    lines = ["push {r4-r11, lr}", f"sub sp, #{_FRAME}", f"str r0, [sp, #{_START}]", f"str r2, [sp, #{_CONSTANTS}]"]
    lines += [f"str r3, [sp, #{_OUT}]", f"movw r2, #{layout.sums}", "add r2, r0", f"str r2, [sp, #{_END}]"]
    for pixel in range(layout.pixels):
        lines += [f"ldr r3, [r2, #{4 * pixel}]", f"lsl r3, r3, #{bits - 1}", "rsb r3, r3, #0"]
        lines += [f"str r3, [sp, #{_SUM + 4 * pixel}]"]
    lines += ["1:", *(_bytes_along(layout) if bits == 8 else _digits_along(layout, bits))]
    lines += _codes(layout, partial=partial)
    lines += [f"ldr r2, [sp, #{_COUNT}]", "subs r2, #4", f"str r2, [sp, #{_COUNT}]", "bgt.w 1b"]
    return [*lines, f"add sp, #{_FRAME}", "pop {r4-r11, pc}"]


def _loads(layout: Products, step: int) -> Lines:
    xs = ("r2", "r3")[: layout.pixels]
    return [f"ldrb {x}, [r0, #{layout.pixels * step + pixel}]" for pixel, x in enumerate(xs)]


def _bytes_along(layout: Products) -> Lines:
    """All products of four channels of 8-bit weights, into the stack.

    r0, r1 next codes and weights, lr the end; r2, r3 codes, r12 a weight; r4 to r7 and r8 to r11 accumulators.
    """
    first = 4 + CHANNELS * layout.pixels - 1
    lines = [f"ldr r0, [sp, #{_START}]", f"ldr lr, [sp, #{_END}]"]
    lines += [f"mov r{register}, #0" for register in range(4, first + 1)] + ["2:"]
    for step in range(STEPS[8]):
        lines += _loads(layout, step)
        for c in range(CHANNELS):
            lines += [f"ldrb r12, [r1, #{4 * step + c}]", f"mla r{4 + c}, r12, r2, r{4 + c}"]
            lines += [f"mla r{8 + c}, r12, r3, r{8 + c}"] if layout.pixels == 2 else []
    lines += ["adds r1, #32", f"adds r0, #{8 * layout.pixels}", "cmp r0, lr", "bne.w 2b"]
    return [*lines, f"stm sp, {{r4-r{first}}}"]


def _digits_along(layout: Products, bits: int) -> Lines:
    """All products of four channels of packed weights, into the stack.

    r0, r1, lr as above; r2, r3 codes; r4 packed weights, r5 two of them, r6 mask; r8 to r11 sums of pairs (0, 1) and
    (2, 3) of pixel 0, then of pixel 1; r12 where they are put aside.
    """
    last = 7 + 2 * layout.pixels
    lines = [f"ldr r0, [sp, #{_START}]", f"ldr lr, [sp, #{_END}]", f"add r12, lr, #{4 * layout.pixels}"]
    lines += [f"mov r6, #{((1 << bits) - 1) * 0x10001:#x}", "2:"]
    for step in range(STEPS[bits]):
        place = step % (8 // bits)
        lines += ["ldr r4, [r1], #4"] if place == 0 else []
        lines += _loads(layout, step)
        for pair in range(2):
            digit = (2 * place + pair) * bits
            lines += [f"and r5, r6, r4{f', lsr #{digit}' if digit else ''}"]
            for pixel, x in enumerate(("r2", "r3")[: layout.pixels]):
                total = f"r{8 + 2 * pixel + pair}"
                lines += [f"mla {total}, r5, {x}, {total}" if step else f"mul {total}, r5, {x}"]
    lines += [f"adds r0, #{16 * layout.pixels}", f"stm r12!, {{r8-r{last}}}", "cmp r0, lr", "bne.w 2b"]
    return lines + _reduce(layout, 2 * layout.pixels)


def _reduce(layout: Products, sums: int) -> Lines:
    """Both channels of each pair from what was put aside; leaves r1 alone."""
    taken = ("r0", "r2", "r3", "r12")[:sums]
    nbytes = 4 * sums * (layout.padded // STEPS[4])
    lines = [f"add lr, lr, #{4 * layout.pixels}", f"movw r0, #{nbytes}", "add r0, lr", "str r0, [sp]"]
    lines += [f"mov r{base + index}, #0" for index in range(sums) for base in (4, 8)]
    lines += ["3:", f"ldm lr!, {{{', '.join(taken)}}}"]
    for index, register in enumerate(taken):
        lines += [f"add r{8 + index}, {register}", f"add r{4 + index}, r{4 + index}, {register}, lsr #16"]
    lines += ["ldr r0, [sp]", "cmp lr, r0", "bne 3b"]
    for index in range(sums):
        lines += [f"sub r{8 + index}, r{8 + index}, r{4 + index}, lsl #16"]
        lines += [f"strd r{8 + index}, r{4 + index}, [sp, #{8 * index}]"]
    return lines


def _codes(layout: Products, *, partial: bool) -> Lines:
    """From accumulators in the stack to codes in memory.

    r12 constants; r2, r3 bias and multiplier; r5 accumulator; r6 out; r8, r9 what the sums of the patches take away.
    """
    lines = [f"ldr r12, [sp, #{_CONSTANTS}]", f"ldr r6, [sp, #{_OUT}]"]
    lines += [f"ldr r{8 + pixel}, [sp, #{_SUM + 4 * pixel}]" for pixel in range(layout.pixels)]
    lines += [f"movw r10, #{layout.row_bytes}"] if layout.pixels == 2 else []
    for c in range(CHANNELS):
        lines += ["ldrd r2, r3, [r12], #8"]
        for pixel in range(layout.pixels):
            lines += [f"ldr r5, [sp, #{16 * pixel + 4 * c}]", f"add r5, r{8 + pixel}"]
            lines += [f"add r5, r2, r5, lsl #{layout.shift}" if layout.shift else "add r5, r2", "smull r0, r5, r5, r3"]
            lines += clamp(layout)
            lines += ["strb r5, [r6, r10]"] if pixel else []
            lines += ["strb r5, [r6], #1"] if layout.pixels == 1 else []
            lines += ["mov r7, r5"] if pixel < layout.pixels - 1 else []
        lines += ["strb r7, [r6], #1"] if layout.pixels == 2 else []
        if partial and c < CHANNELS - 1:
            lines += [f"ldr r0, [sp, #{_COUNT}]", f"cmp r0, #{c + 1}", "beq.w 8f"]
    return [*lines, f"str r12, [sp, #{_CONSTANTS}]", f"str r6, [sp, #{_OUT}]", "8:"]


def clamp(layout: Products) -> Lines:
    """Zero point and bounds of r5, by saturation where they span a power of two."""
    low, high = layout.low, layout.high
    offset, span = layout.zero_point - low, high - low
    lines = _plus(offset)
    if (low, high) == (-128, 127) and offset == 128:
        return ["ssat r5, #8, r5"]
    if span == 255:
        return [*lines, "usat r5, #8, r5", *_plus(low)]
    return [*lines, "usat r5, #31, r5", f"cmp r5, #{span}", "it hi", f"movhi r5, #{span}", *_plus(low)]


def _plus(value: int) -> Lines:
    if value == 0:
        return []
    return [f"add r5, #{value}" if value > 0 else f"sub r5, #{-value}"]


KERNELS = MicroKernels(
    "__thumb2__", products, thumb1.gather, ({8: 2.4, 4: 1.5, 2: 1.4}, {8: 1.85, 4: 1.2, 2: 1.15}), 14.0
)
