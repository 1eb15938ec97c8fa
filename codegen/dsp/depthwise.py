# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolution: how weights are laid out, and the micro-kernel of two pixels by four channels, tap by tap.

Registers: r0 a row of the input, r1 weights; r2, r3 channels (0, 2) and (1, 3) of a pixel; r12, lr those of weights;
r4 to r7 and r8 to r11 accumulators. The stack holds the rows, constants, output, end of the weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from plinio_deploy.codegen.dsp.assembly import PIXELS, PRODUCTS, Lines, Output, requantize, store
from plinio_deploy.codegen.dsp.blocks import CHANNELS, WIDE8, Sums
from plinio_deploy.codegen.pack import Array
from plinio_deploy.network import Conv
from plinio_deploy.packing import pack_rows

REACH = 4000
"""Most bytes between the taps of a row: the offset of a load."""


@dataclass(frozen=True)
class Taps:
    """Where the micro-kernel finds its operands.

    Attributes:
        rows: of the kernel.
        columns: byte offset of each tap in its row.
        step: bytes from pixel 0 to pixel 1.
        channels: of the layer.
        signed: whether codes are two's complement.
        out_step: bytes from output pixel 0 to pixel 1; 0 where they are the same.
    """

    rows: int
    columns: tuple[int, ...]
    step: int
    channels: int
    signed: bool
    out_step: int

    @property
    def count(self) -> int:
        """Taps in all."""
        return self.rows * len(self.columns)


def arrays(op: Conv, found: Sums) -> tuple[Array, ...]:
    """Weights, per block of four channels and tap four codes, packed to their width; starts and multipliers."""
    channels = op.weights.out_channels
    flat = op.weights.codes.reshape(channels, -1)
    bits = max(op.weights.bits)
    codes_of: list[int] = []
    constants: list[int] = []
    for first in range(0, channels, CHANNELS):
        block = range(first, min(first + CHANNELS, channels))
        missing = [0] * (CHANNELS - len(block))
        for tap in range(flat.shape[1]):
            codes_of += [int(flat[c, tap]) for c in block] + missing
        constants += ([0] * CHANNELS if found.shift else []) + [int(op.bias[c]) for c in block] + missing
        constants += [int(found.multiplier[c]) for c in block] + [1] * len(missing)
    data = pack_rows(np.array([codes_of]), bits).tobytes()
    data += bytes(-len(data) % 4)
    words = [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]
    return (
        Array("_w", "uint32_t", tuple(words), f"{bits}-bit weights, per four channels and tap four codes"),
        Array("_q", "int32_t", tuple(constants), "per block of four channels: first accumulators, multipliers"),
    )


def products(taps: Taps, out: Output) -> Lines:
    """The micro-kernel, called as ``(rows, out, weights, constants)``: two pixels by all channels."""
    constants = 4 * taps.rows
    place, last, stride = constants + 4, constants + 8, constants + 12
    frame = constants + 16
    lines = ["push {r4-r11, lr}", f"sub sp, #{frame}"]
    for row in range(taps.rows):
        lines += [f"ldr r4, [r0, #{4 * row}]", f"str r4, [sp, #{4 * row}]"]
    lines += [f"str r3, [sp, #{constants}]", f"str r1, [sp, #{place}]", "mov r1, r2"]
    lines += [f"movw r2, #{taps.out_step}", f"str r2, [sp, #{stride}]"]
    whole, rest = divmod(taps.channels, CHANNELS)
    if whole > 1:
        nbytes = whole * CHANNELS * taps.count
        lines += [f"movw r2, #{nbytes & 0xFFFF}", *([f"movt r2, #{nbytes >> 16}"] if nbytes >> 16 else [])]
        lines += ["add r2, r1", f"str r2, [sp, #{last}]", "1:"]
    if whole:
        lines += _block(taps, out, CHANNELS, constants, place)
    if whole > 1:
        lines += [f"ldr r0, [sp, #{last}]", "cmp r1, r0", "bne 1b"]
    if rest:
        lines += _block(taps, out, rest, constants, place)
    return [*lines, f"add sp, #{frame}", "pop {r4-r11, pc}"]


def _block(taps: Taps, out: Output, channels: int, constants: int, place: int) -> Lines:
    lines = [PRODUCTS, f"ldr r2, [sp, #{constants}]", "ldm r2, {r8-r11}", "ldm r2!, {r4-r7}"]
    lines += [f"str r2, [sp, #{constants}]"]
    extend = "sxtb16" if taps.signed else "uxtb16"
    for row in range(taps.rows):
        lines += [f"ldr r0, [sp, #{4 * row}]"]
        for offset in taps.columns:
            lines += ["ldr r12, [r1], #4", "sxtb16 lr, r12, ror #8", "sxtb16 r12, r12"]
            for pixel, acc in enumerate(PIXELS):
                lines += [f"ldr r3, [r0, #{offset + pixel * taps.step}]"]
                lines += [f"{extend} r2, r3", f"{extend} r3, r3, ror #8"]
                for lane, (x, weights) in enumerate((("r2", "r12"), ("r3", "lr")) * 2):
                    halves = "tt" if lane > 1 else "bb"
                    lines += [f"smla{halves} {acc[lane]}, {x}, {weights}, {acc[lane]}"]
        lines += [f"adds r0, #{CHANNELS}", f"str r0, [sp, #{4 * row}]"]
    lines += requantize(2, WIDE8, out, constants)
    return lines + store(2, out, channels, place, place + 8)
