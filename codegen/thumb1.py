# SPDX-License-Identifier: Apache-2.0
"""Micro-kernels of `thumb` for Cortex-M0 and M0+ as text, one instruction per line."""

from __future__ import annotations

from plinio_deploy.codegen.runs import CHANNELS
from plinio_deploy.codegen.thumb import STEPS, Lines, MicroKernels, Products

# Stack of a micro-kernel: accumulators; then what is kept from group to group.
_START, _END, _CONSTANTS, _OUT, _SUM, _ROW, _FRAME = 32, 36, 40, 44, 48, 56, 60
_COUNT = _FRAME + 36
"""The argument ``channels``, counted down."""

_AGAIN = [f"ldr r5, [sp, #{_END}]", "cmp r0, r5", "bhs 3f", "b 2b", "3:"]
"""The end of a loop along K; a conditional branch does not reach its start."""


def products(layout: Products, bits: int, partial: bool) -> Lines:
    """See `thumb.MicroKernels`."""
    lines = ["push {r4-r7, lr}", "mov r4, r8", "mov r5, r9", "mov r6, r10", "mov r7, r11", "push {r4-r7}"]
    lines += [f"sub sp, #{_FRAME}", f"str r0, [sp, #{_START}]", f"str r2, [sp, #{_CONSTANTS}]"]
    lines += [f"str r3, [sp, #{_OUT}]", *constant("r2", layout.sums), "add r2, r0", f"str r2, [sp, #{_END}]"]
    for pixel in range(layout.pixels):
        lines += [f"ldr r3, [r2, #{4 * pixel}]", f"lsls r3, r3, #{bits - 1}", "negs r3, r3"]
        lines += [f"str r3, [sp, #{_SUM + 4 * pixel}]"]
    lines += [*constant("r3", layout.row_bytes), f"str r3, [sp, #{_ROW}]", "1:"]
    lines += _bytes_along(layout) if bits == 8 else _digits_along(layout, bits)
    lines += ["mov r11, r1", *_codes(layout, partial=partial), "mov r1, r11"]
    lines += [f"ldr r2, [sp, #{_COUNT}]", "subs r2, #4", f"str r2, [sp, #{_COUNT}]", "ble 9f", "b 1b", "9:"]
    lines += [f"add sp, #{_FRAME}", "pop {r4-r7}", "mov r8, r4", "mov r9, r5", "mov r10, r6", "mov r11, r7"]
    return [*lines, "pop {r4-r7, pc}"]


def constant(register: str, value: int) -> Lines:
    """A number below 2^24; changes flags."""
    if value < 1 << 8:
        return [f"movs {register}, #{value}"]
    return [*constant(register, value >> 8), f"lsls {register}, {register}, #8", f"adds {register}, #{value & 255}"]


def _bytes_along(layout: Products) -> Lines:
    """All products of four channels of 8-bit weights, into the stack.

    r0, r1 next codes and weights; r2, r3 codes; r4, r5 products; the rest accumulators.
    """
    acc = (("r6", "r8", "r9", "r10"), ("r7", "r11", "r12", "lr"))[: layout.pixels]
    lines = [f"ldr r0, [sp, #{_START}]", "movs r6, #0"]
    lines += [f"mov {register}, r6" for pixel in acc for register in pixel if register != "r6"] + ["2:"]
    for step in range(STEPS[8]):
        xs = ("r2", "r3")[: layout.pixels]
        lines += [f"ldrb {x}, [r0, #{layout.pixels * step + pixel}]" for pixel, x in enumerate(xs)]
        for c in range(CHANNELS):
            lines += [f"ldrb r4, [r1, #{4 * step + c}]"]
            if layout.pixels == 1:
                lines += ["muls r4, r2", f"add {acc[0][c]}, r4"]
            elif c < CHANNELS - 1:
                lines += ["mov r5, r4", "muls r5, r2", f"add {acc[0][c]}, r5", "muls r4, r3", f"add {acc[1][c]}, r4"]
            else:
                lines += ["muls r2, r4", f"add {acc[0][c]}, r2", "muls r3, r4", f"add {acc[1][c]}, r3"]
    lines += ["adds r1, #32", f"adds r0, #{8 * layout.pixels}", *_AGAIN]
    for pixel, registers in enumerate(acc):
        for c, register in enumerate(registers):
            low = register in ("r6", "r7")
            lines += [] if low else [f"mov r2, {register}"]
            lines += [f"str {register if low else 'r2'}, [sp, #{16 * pixel + 4 * c}]"]
    return lines


def _digits_along(layout: Products, bits: int) -> Lines:
    """All products of four channels of packed weights, into the stack.

    r0, r1 next codes and weights; r2, r3 codes; r4, r5 products; r6 mask, r7 packed weights; r8 to r11 sums of pairs
    (0, 1) and (2, 3) of pixel 0, then of pixel 1; r12 where they are put aside.
    """
    pairs = (("r8", "r9"), ("r10", "r11"))
    used = [register for pixel in pairs[: layout.pixels] for register in pixel]
    lines = [f"ldr r0, [sp, #{_START}]", f"ldr r5, [sp, #{_END}]", f"adds r5, #{4 * layout.pixels}", "mov r12, r5"]
    lines += [f"movs r6, #{(1 << bits) - 1}", "lsls r5, r6, #16", "orrs r6, r5", "2:"]
    for step in range(STEPS[bits]):
        add = "add" if step else "mov"
        place = step % (8 // bits)
        lines += ["ldm r1!, {r7}"] if place == 0 else []
        xs = ("r2", "r3")[: layout.pixels]
        lines += [f"ldrb {x}, [r0, #{layout.pixels * step + pixel}]" for pixel, x in enumerate(xs)]
        lines += [f"lsrs r4, r7, #{2 * place * bits}" if place else "mov r4, r7", "ands r4, r6"]
        if layout.pixels == 2:
            lines += ["mov r5, r4", "muls r5, r2", f"{add} r8, r5", "muls r4, r3", f"{add} r10, r4"]
        else:
            lines += ["muls r4, r2", f"{add} r8, r4"]
        lines += [f"lsrs r4, r7, #{(2 * place + 1) * bits}", "ands r4, r6"]
        lines += ["muls r2, r4", f"{add} r9, r2"] + (["muls r3, r4", f"{add} r11, r3"] if layout.pixels == 2 else [])
    lines += [f"adds r0, #{16 * layout.pixels}", "mov r7, r12"]
    lines += [f"mov r{2 + index}, {register}" for index, register in enumerate(used)]
    lines += [f"stm r7!, {{r2-r{1 + len(used)}}}", "mov r12, r7", *_AGAIN]
    return lines + _reduce(layout, len(used))


def _reduce(layout: Products, sums: int) -> Lines:
    """Both channels of each pair from what was put aside; leaves r1 alone."""
    upper = ("r6", "r7", "r12", "lr")[:sums]
    lines = [f"adds r5, #{4 * layout.pixels}", "mov r0, r5", "movs r6, #0", "movs r7, #0", "mov r12, r6", "mov lr, r6"]
    lines += [f"mov r{8 + index}, r6" for index in range(sums)] + ["4:", f"ldm r0!, {{r2-r{1 + sums}}}"]
    for index in range(sums):
        lines += [f"add r{8 + index}, r{2 + index}", f"lsrs r{2 + index}, r{2 + index}, #16"]
        lines += [f"add {upper[index]}, r{2 + index}"]
    blocks = layout.padded // 16
    if blocks > 1:
        lines += [f"ldr r5, [sp, #{_END}]", *constant("r4", 4 * layout.pixels + 4 * sums * blocks), "adds r5, r4"]
        lines += ["cmp r0, r5", "bne 4b"]
    for index in range(sums):
        lines += [f"mov r2, {upper[index]}", f"str r2, [sp, #{8 * index + 4}]", "lsls r2, r2, #16"]
        lines += [f"mov r3, r{8 + index}", "subs r3, r3, r2", f"str r3, [sp, #{8 * index}]"]
    return lines


def _codes(layout: Products, *, partial: bool) -> Lines:
    """From accumulators in the stack to codes in memory.

    r1 constants; r2 bias, r3, r4 upper and lower half of the multiplier; r5 accumulator; r6 out; r8, r9 what the sums
    of the patches take away, r10 bytes per pixel.
    """
    lines = [f"ldr r1, [sp, #{_CONSTANTS}]", f"ldr r6, [sp, #{_OUT}]"]
    for pixel in range(layout.pixels):
        lines += [f"ldr r0, [sp, #{_SUM + 4 * pixel}]", f"mov r{8 + pixel}, r0"]
    lines += [f"ldr r0, [sp, #{_ROW}]", "mov r10, r0"] if layout.pixels == 2 else []
    for c in range(CHANNELS):
        lines += ["ldm r1!, {r2, r3}", "uxth r4, r3", "lsrs r3, r3, #16"]
        for pixel in range(layout.pixels):
            lines += [f"ldr r5, [sp, #{16 * pixel + 4 * c}]", f"add r5, r{8 + pixel}"]
            lines += [f"lsls r5, r5, #{layout.shift}"] if layout.shift else []
            lines += ["adds r5, r5, r2", *high_word(wide=layout.wide), *clamp(layout)]
            lines += ["mov r0, r10", "strb r5, [r6, r0]"] if pixel else ["strb r5, [r6]"]
        lines += ["adds r6, #1"]
        if partial and c < CHANNELS - 1:
            lines += [f"ldr r0, [sp, #{_COUNT}]", f"cmp r0, #{c + 1}", "bne 6f", "b 8f", "6:"]
    return [*lines, f"str r1, [sp, #{_CONSTANTS}]", f"str r6, [sp, #{_OUT}]", "8:"]


def high_word(*, wide: bool) -> Lines:
    """``r5 = r5 * (r3 * 2^16 + r4) >> 32``, rounded down; uses r0 and r7.

    With ``a = a1 * 2^16 + a0`` and ``m = m1 * 2^16 + m0`` the product over 2^16, rounded down, is ``a * m1 + a1 * m0 +
    (a0 * m0 >> 16)``, which fits a register if the result fits 16 bits. If it may not (``wide``), ``a * m1`` is split.
    """
    if not wide:
        lines = ["asrs r0, r5, #16", "muls r0, r4", "uxth r7, r5", "muls r7, r4", "lsrs r7, r7, #16", "muls r5, r3"]
        return [*lines, "adds r5, r5, r0", "adds r5, r5, r7", "asrs r5, r5, #16"]
    lines = ["asrs r0, r5, #16", "uxth r7, r5", "mov r5, r7", "muls r5, r4", "lsrs r5, r5, #16", "muls r7, r3"]
    lines += [
        "adds r5, r5, r7",
        "mov r7, r0",
        "muls r7, r4",
        "muls r0, r3",
        "mov r12, r0",
        "uxth r0, r5",
        "adds r7, r7, r0",
    ]
    return [*lines, "asrs r7, r7, #16", "lsrs r5, r5, #16", "adds r5, r5, r7", "add r5, r12"]


def clamp(layout: Products) -> Lines:
    """Zero point and bounds; one comparison finds codes that leave the range on either side."""
    offset, span = layout.zero_point - layout.low, layout.high - layout.low
    lines = [*_plus(offset), f"cmp r5, #{span}", "bls 7f", "mvns r5, r5", "asrs r5, r5, #31"]
    lines += [] if span == 255 else [f"movs r0, #{span}", "ands r5, r0"]
    return [*lines, "7:", *_plus(layout.low)]


def _plus(value: int) -> Lines:
    if value == 0:
        return []
    return [f"adds r5, #{value}" if value > 0 else f"subs r5, #{-value}"]


def gather(pixels: int, flip: bool) -> Lines:
    """See `thumb.MicroKernels`."""
    one = ["ldrb r4, [r1{0}]", *(["eors r4, r5"] if flip else []), "strb r4, [r0{1}]", "adds r3, r3, r4"]
    lines = ["push {r4, r5, lr}", "movs r3, #0", *(["movs r5, #128"] if flip else []), "subs r2, #8", "blt 2f", "1:"]
    for index in range(8):
        lines += [line.format(f", #{index}", f", #{pixels * index}") for line in one]
    lines += ["adds r1, #8", f"adds r0, #{8 * pixels}", "subs r2, #8", "bge 1b", "2:", "adds r2, #8", "beq 4f", "3:"]
    lines += [line.format("", "") for line in one]
    lines += ["adds r1, #1", f"adds r0, #{pixels}", "subs r2, #1", "bne 3b", "4:", "mov r0, r3", "pop {r4, r5, pc}"]
    return lines


KERNELS = MicroKernels("__thumb__", products, gather, ({8: 3.5, 4: 2.7, 2: 2.7}, {8: 3.2, 4: 2.25, 2: 2.2}), 10.0)
