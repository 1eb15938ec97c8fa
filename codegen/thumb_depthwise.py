# SPDX-License-Identifier: Apache-2.0
"""The depthwise micro-kernels of Cortex-M0, M0+ and M3: all channels of one pixel, one after another.

Codes are unsigned, as in `thumb`; rows of the input lie in a ring in scratch, with their padding, or where they are. A
Cortex-M0 loads bytes at an offset only without their sign, so its weights have 128 added, and the sum of the window
takes that back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from plinio_deploy.codegen import thumb1, thumb2
from plinio_deploy.codegen.pack import Array, int32_array
from plinio_deploy.codegen.thumb import Lines, Products
from plinio_deploy.fixedpoint import wrap_int32
from plinio_deploy.network import Conv

MAX_ROWS = 3
"""Rows of a window; each has a register."""
MAX_COLUMNS = 3
"""Columns of a window; offsets of the two after the first have registers."""


@dataclass(frozen=True)
class Window:
    """What a micro-kernel computes.

    Attributes:
        taps: rows and columns of the window.
        step: bytes from a column to the next one.
        channels: of input and output.
        signed: whether input codes are two's complement.
        output: what becomes of accumulators.
    """

    taps: tuple[int, int]
    step: int
    channels: int
    signed: bool
    output: Products


def arrays(op: Conv, window: Window, offset: int) -> tuple[Array, ...]:
    """Weights channel by channel, ``offset`` added; biases and multipliers."""
    flat = op.weights.codes.reshape(op.weights.out_channels, -1).astype(np.int64)
    bias = op.bias.astype(np.int64) - (128 * flat.sum(axis=1) << window.output.shift if window.signed else 0)
    pairs = np.stack([wrap_int32(bias), np.broadcast_to(op.requant.multiplier.astype(np.int64), bias.shape)], axis=1)
    ctype = "uint8_t" if offset else "int8_t"
    return (
        Array("_w", ctype, tuple((flat + offset).ravel().tolist()), f"windows of each channel, {offset} added"),
        int32_array("_q", pairs.ravel().tolist(), "per channel: bias, multiplier"),
    )


def least(window: Window) -> Lines:
    """For Cortex-M0; called as ``(rows, offset, q, out, w)``.

    r0 a row, r1 weights, r2, r3 one and two columns further, r4 a weight, r5 a code, r7 their sum, r8 accumulator; r9
    to r11 rows, r12 channel.
    """
    rows, columns = window.taps
    lines = ["push {r4-r7, lr}", "mov r4, r8", "mov r5, r9", "mov r6, r10", "mov r7, r11", "push {r4-r7}"]
    lines += ["push {r2, r3}", "mov r4, r1"]
    for row in range(rows):
        lines += [f"ldr r5, [r0, #{4 * row}]", "adds r5, r5, r4", f"mov r{9 + row}, r5"]
    lines += ["ldr r1, [sp, #44]", *thumb1.constant("r2", window.step), *thumb1.constant("r6", window.channels)]
    lines += ["mov lr, r6", "movs r0, #0", "mov r12, r0", "1:", "adds r3, r2, r2"]
    for tap in range(rows * columns):
        row, column = divmod(tap, columns)
        lines += [f"mov r0, r{9 + row}", "add r0, r12"] if column == 0 else []
        lines += [f"ldrb r4, [r1, #{tap}]", f"ldrb r5, [r0{('', ', r2', ', r3')[column]}]"]
        lines += ["adds r7, r7, r5" if tap else "mov r7, r5", "muls r5, r4", "add r8, r5" if tap else "mov r8, r5"]
    lines += ["lsls r7, r7, #7", "mov r5, r8", "subs r5, r5, r7"]
    lines += [f"lsls r5, r5, #{window.output.shift}"] if window.output.shift else []
    lines += [f"adds r1, #{rows * columns}", "ldr r6, [sp]", "ldm r6!, {r0, r3}", "str r6, [sp]", "adds r5, r5, r0"]
    lines += ["mov r6, r12"] if window.output.wide else []
    lines += ["uxth r4, r3", "lsrs r3, r3, #16", *thumb1.high_word(wide=window.output.wide)]
    lines += thumb1.clamp(window.output)
    lines += ["mov r12, r6"] if window.output.wide else []
    lines += ["ldr r6, [sp, #4]", "mov r0, r12", "strb r5, [r6, r0]", "adds r0, #1", "mov r12, r0", "cmp r0, lr"]
    lines += ["beq 2f", "b 1b", "2:", "add sp, #8", "pop {r4-r7}", "mov r8, r4", "mov r9, r5", "mov r10, r6"]
    return [*lines, "mov r11, r7", "pop {r4-r7, pc}"]


def larger(window: Window) -> Lines:
    """For Cortex-M3; called as ``(rows, offset, q, out, w)``.

    r8 to r10 rows, r12 weights, r2 constants, r6 out, lr channels left; r5 accumulator; r4, r7 a weight and a code.
    """
    rows, columns = window.taps
    lines = ["push {r4-r11, lr}", "ldr r12, [sp, #36]", "mov r6, r3"]
    lines += [line for row in range(rows) for line in (f"ldr r{8 + row}, [r0, #{4 * row}]", f"add r{8 + row}, r1")]
    lines += [f"movw lr, #{window.channels}", "1:"]
    for tap in range(rows * columns):
        row, column = divmod(tap, columns)
        lines += ["ldrsb r4, [r12], #1", f"ldrb r7, [r{8 + row}, #{column * window.step}]"]
        lines += ["mla r5, r4, r7, r5" if tap else "mul r5, r4, r7"]
    lines += [f"add r{8 + row}, #1" for row in range(rows)] + ["ldrd r4, r3, [r2], #8"]
    lines += [f"add r5, r4, r5, lsl #{window.output.shift}" if window.output.shift else "add r5, r4"]
    lines += ["smull r0, r5, r5, r3", *thumb2.clamp(window.output), "strb r5, [r6], #1", "subs lr, #1", "bne.w 1b"]
    return [*lines, "pop {r4-r11, pc}"]
