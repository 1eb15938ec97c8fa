# SPDX-License-Identifier: Apache-2.0
"""Weights below 8 bits on RV32IM: one multiplication for two pixels.

A word holds the activations of two pixels at one tap, ``a + (b << 16)``. Times a weight it holds both products, and
sums of such words hold both sums, as long as either fits 16 bits. How many taps may be added before the halves have to
be taken apart follows from the weights themselves: trained ones leave room for far more than the worst case.
"""

from __future__ import annotations

import numpy as np

from plinio_deploy.codegen.rv32.assembly import (
    ACCUMULATORS,
    PIXELS,
    Output,
    blocks,
    framed,
    late_bias,
    over_channels,
    plus,
    saturate,
    shifted,
    start,
)
from plinio_deploy.network import Int8Array

CHANNELS = 4
"""Channels of a block."""

_SUMS = 16
"""Where the sums lie on the stack."""


def group_taps(rows: Int8Array, low: int, high: int) -> int:
    """Taps, a multiple of 4, that may be added up in 16 bits, wherever a group begins.

    Args:
        rows: weights, ``(channels, taps)``; taps a multiple of 4.
        low: least activation.
        high: greatest activation.
    """
    wide = rows.astype(np.int64)
    most = np.maximum(wide * low, wide * high)
    least = np.minimum(wide * low, wide * high)
    taps = int(rows.shape[1])
    size = taps
    while size > 4:
        starts = np.arange(0, taps, size)
        highest, lowest = (np.add.reduceat(bound, starts, axis=1) for bound in (most, least))
        if highest.max() <= 32767 and lowest.min() >= -32768:
            break
        size -= 4
    return size


def pack_words(rows: Int8Array, bits: int) -> list[int]:
    """Weights in the order in which the kernel reads them: blocks of four channels, taps, channels of a tap."""
    padded = np.zeros((-(-len(rows) // CHANNELS) * CHANNELS, rows.shape[1]), dtype=np.int64)
    padded[: len(rows)] = rows
    order = padded.reshape(-1, CHANNELS, rows.shape[1]).transpose(0, 2, 1).reshape(-1, 32 // bits)
    lanes = (order & ((1 << bits) - 1)) << (np.arange(32 // bits) * bits)
    return [int(word) for word in lanes.sum(axis=1)]


def products(channels: int, bits: int, pairs: int, stored: int, depth: int, group: int, output: Output) -> list[str]:
    """Pairs of pixels by all channels of a run.

    Args:
        channels: of the run.
        bits: of a weight, 4 or 2.
        pairs: pairs of pixels, up to 4; the words of a tap lie side by side at ``a0``.
        stored: pixels whose codes are wanted.
        depth: taps, a multiple of 4.
        group: taps between two flushes, see `group_taps`.
        output: requantization.
    """

    def tap(place: int, width: int) -> list[str]:
        first = place * CHANNELS * bits
        lines = [f"lw t6,{first // 32 * 4}(a1)"] if first % 32 == 0 else []
        lines += [f"lw {PIXELS[pair]},{4 * (place * pairs + pair)}(a0)" for pair in range(pairs)]
        for channel in range(width):
            room = 32 - bits - (first + channel * bits) % 32
            lines += [f"slli t4,t6,{room}", f"srai t4,t4,{32 - bits}"] if room else [f"srai t4,t6,{32 - bits}"]
            for pair in range(pairs):
                register = ACCUMULATORS[channel * pairs + pair]
                lines += [f"mul t5,t4,{PIXELS[pair]}", f"add {register},{register},t5"]
        return lines

    def body(width: int) -> list[str]:
        lines = [
            *_start(width, pairs, output),
            "sw a0,8(sp)",
            *plus("t0", "a0", depth * pairs * 4, "t0"),
            "sw t0,4(sp)",
        ]
        lines += ["3:", *(f"li {register},0" for register in ACCUMULATORS[: width * pairs])]
        lines += ["lw ra,4(sp)"]
        if group < depth:
            lines += [*plus("t0", "a0", group * pairs * 4, "t0"), "bgeu t0,ra,4f", "mv ra,t0", "4:"]
        lines += [".balign 4", "2:"]
        for place in range(4):
            lines += tap(place, width)
        lines += [f"addi a0,a0,{16 * pairs}", f"addi a1,a1,{2 * bits}", "bne a0,ra,2b", *_flush(width, pairs)]
        lines += ["lw t0,4(sp)", "bne a0,t0,3b"] if group < depth else []
        return [*lines, "lw a0,8(sp)", *_codes(width, pairs, stored, output)]

    code = {width: body(width) for width in blocks(channels, CHANNELS)}
    return framed(over_channels(channels, CHANNELS, code), _SUMS + CHANNELS * pairs * 8)


def _start(width: int, pairs: int, output: Output) -> list[str]:
    """Sums on the stack at their start."""
    lines = []
    for channel in range(width):
        lines.append(start("t0", f"{8 * channel}(a2)", output))
        lines += [f"sw t0,{_SUMS + 4 * (channel * 2 * pairs + pixel)}(sp)" for pixel in range(2 * pairs)]
    return lines


def _flush(width: int, pairs: int) -> list[str]:
    """Both halves of every accumulator go to the sums on the stack; the upper one gives back the lower one's borrow."""
    lines = ["lui t1,8"]
    for index in range(width * pairs):
        register, place = ACCUMULATORS[index], _SUMS + 8 * index
        lines += [f"lw t2,{place}(sp)", f"lw t3,{place + 4}(sp)", f"slli t0,{register},16", "srai t0,t0,16"]
        lines += [f"add {register},{register},t1", f"srai {register},{register},16", "add t0,t0,t2"]
        lines += [f"add {register},{register},t3", f"sw t0,{place}(sp)", f"sw {register},{place + 4}(sp)"]
    return lines


def _codes(width: int, pairs: int, stored: int, output: Output) -> list[str]:
    """Sums on the stack to codes, one channel per turn; advances ``a2`` and ``a3``."""
    registers = ACCUMULATORS[:stored]
    lines = [f"addi a5,sp,{_SUMS}", f"addi a6,a3,{width}", f"li t1,{output.span}", ".balign 4", "5:", "lw t0,4(a2)"]
    lines += late_bias("t4", "0(a2)", output)
    lines += [f"lw {register},{4 * pixel}(a5)" for pixel, register in enumerate(registers)]
    for pixel, register in enumerate(registers):
        lines += [*shifted(register, "t4", output), f"mulh {register},{register},t0", *saturate(register, output)]
        lines.append(f"sb {register},{pixel * output.pitch}(a3)")
    return [*lines, f"addi a5,a5,{8 * pairs}", "addi a2,a2,8", "addi a3,a3,1", "bne a3,a6,5b"]
