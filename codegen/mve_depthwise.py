# SPDX-License-Identifier: Apache-2.0
"""The depthwise micro-kernel of the vector extension: eight channels of one or two pixels at a time.

Codes and weights are widened to 16 bits as they are loaded; even and odd lanes are multiplied to 32 bits and added.
Rows of the input lie in a ring in scratch, with their padding, so that no tap is special.

Registers::

    r4 - r7, r0    next codes of each row of the window (loads that widen take r0 to r7 alone)
    r1, r8         next weights, next constants
    r2             an address
    r3, r10        out, channels left
    q4, q5         accumulators of pixel 0, even and odd channels; q6, q7 of pixel 1
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from plinio_deploy.codegen.pack import Array, int32_array
from plinio_deploy.network import Conv

CHANNELS = 8
MAX_ROWS = 5
"""Rows of a window; each has a register."""

_POINTERS = ("r4", "r5", "r6", "r7", "r0")
_ACC = (("q4", "q5"), ("q6", "q7"))
_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""Channels as the even and the odd lanes of a vector hold them."""

Lines = list[str]


@dataclass(frozen=True)
class Window:
    """What the micro-kernel computes.

    Attributes:
        taps: rows and columns of the window.
        dilation: pixels per column.
        stride: pixels between the two outputs.
        channels: of input and output.
        source_signed: whether input codes are two's complement.
        shift: left shift of the sum of products.
        signed, zero_point, low, high: of the output.
    """

    taps: tuple[int, int]
    dilation: int
    stride: int
    channels: int
    source_signed: bool
    shift: int
    signed: bool
    zero_point: int
    low: int
    high: int


def arrays(op: Conv) -> tuple[Array, ...]:
    """Per eight channels the weights, row by row from right to left; biases and multipliers, even channels first."""
    count = op.weights.out_channels
    blocks = -(-count // CHANNELS)
    rows, columns = op.kernel
    weights = np.zeros((blocks * CHANNELS, rows, columns), dtype=np.int64)
    weights[:count] = op.weights.codes[:, :, ::-1, 0]
    ordered = weights.reshape(blocks, CHANNELS, rows, columns).transpose(0, 2, 3, 1)
    constants = np.zeros((blocks * CHANNELS, 2), dtype=np.int64)
    constants[:count, 0] = op.bias
    constants[:count, 1] = np.broadcast_to(op.requant.multiplier, (count,))
    halves = constants.reshape(blocks, CHANNELS, 2)[:, _ORDER].transpose(0, 2, 1)
    comment = "per eight channels the rows of the window, each from right to left, as bytes"
    return (
        Array("_w", "int8_t", tuple(ordered.ravel().tolist()), comment),
        int32_array(
            "_q", halves.ravel().tolist(), "per eight channels: biases, multipliers; channels 0, 2, 4, 6, 1, 3, 5, 7"
        ),
    )


def products(window: Window, pixels: int) -> Lines:
    """All channels of one or two pixels; called as ``(rows, offset, q, out, w)``."""
    rows, columns = window.taps
    pointers = _POINTERS[:rows]
    lines = ["push {r4-r11, lr}", "vpush {d8-d15}", "mov r12, r1", "mov r8, r2", "ldr r1, [sp, #100]"]
    for row, pointer in enumerate(pointers):
        lines += [f"ldr {pointer}, [r0, #{4 * row}]", f"add {pointer}, r12"]
    lines += [f"movw r10, #{window.channels}", "1:", *_start(window, pixels)]
    for pointer in pointers:
        for column in reversed(range(columns)):
            lines += ["vldrb.s16 q0, [r1], #8"]
            for pixel in reversed(range(pixels)):
                pixel_offset = (column * window.dilation + pixel * window.stride) * window.channels
                lines += _load(window, pointer, pixel_offset)
                lines += ["vmullb.s16 q2, q1, q0", "vmullt.s16 q3, q1, q0"]
                lines += [f"vadd.i32 {acc}, {acc}, {q}" for acc, q in zip(_ACC[pixel], ("q2", "q3"), strict=True)]
    return [*lines, *_requantize(window, pixels), "subs r10, #8", "bgt 1b", "vpop {d8-d15}", "pop {r4-r11, pc}"]


def _start(window: Window, pixels: int) -> Lines:
    """Accumulators start at the biases, unless those are added to shifted sums."""
    if window.shift:
        return [f"vmov.i32 {q}, #0" for pair in _ACC[:pixels] for q in pair]
    lines = ["vldrw.32 q4, [r8], #16", "vldrw.32 q5, [r8], #16"]
    return [*lines, "vmov q6, q4", "vmov q7, q5"] if pixels == 2 else lines


def _load(window: Window, pointer: str, offset: int) -> Lines:
    """Eight codes at an offset; those at the pointer itself are the last ones of their row, and it moves on."""
    name = f"vldrb.{'s' if window.source_signed else 'u'}16 q1"
    if offset == 0:
        return [f"{name}, [{pointer}], #8"]
    if offset < 1 << 7:
        return [f"{name}, [{pointer}, #{offset}]"]
    if offset < 1 << 12:
        return [f"addw r2, {pointer}, #{offset}", f"{name}, [r2]"]
    return [f"movw r2, #{offset}", f"add r2, {pointer}", f"{name}, [r2]"]


def _requantize(window: Window, pixels: int) -> Lines:
    """Accumulators to codes: narrowed to 16 bits with saturation, even and odd channels side by side again."""
    lines: Lines = []
    if window.shift:
        lines += ["vldrw.32 q0, [r8], #16", "vldrw.32 q1, [r8], #16"]
        for pair in _ACC[:pixels]:
            for acc, bias in zip(pair, ("q0", "q1"), strict=True):
                lines += [f"vshl.s32 {acc}, {acc}, #{window.shift}", f"vadd.i32 {acc}, {acc}, {bias}"]
    lines += ["vldrw.32 q0, [r8], #16", "vldrw.32 q1, [r8], #16"]
    codes = [even for even, _ in _ACC[:pixels]]
    for even, odd in _ACC[:pixels]:
        lines += [f"vmulh.s32 {even}, {even}, q0", f"vmulh.s32 {odd}, {odd}, q1"]
        lines += [f"vqmovnb.s32 {even}, {even}", f"vqmovnt.s32 {even}, {odd}"]
    lines += narrow(codes, window.signed, window.zero_point, (window.low, window.high))
    partial = window.channels % CHANNELS != 0
    lines += ["vctp.16 r10"] if partial else []
    store = ["vpst", "vstrbt.16"] if partial else ["vstrb.16"]
    if pixels == 2:
        lines += [f"movw r2, #{window.channels}", "add r2, r3", *store[:-1], f"{store[-1]} {codes[1]}, [r2]"]
    return [*lines, *store[:-1], f"{store[-1]} {codes[0]}, [r3], #8"]


def narrow(vectors: list[str], signed: bool, zero_point: int, clamp: tuple[int, int]) -> Lines:
    """Zero point and clamp of 16-bit lanes; uses r11, r12, q0 and q1."""
    lines: Lines = []
    if zero_point:
        lines += [f"mov r12, #{zero_point}"] + [f"vqadd.s16 {q}, {q}, r12" for q in vectors]
    if clamp == ((-128, 127) if signed else (0, 255)):
        return lines + [f"{'vqmovnb' if signed else 'vqmovunb'}.s16 {q}, {q}" for q in vectors]
    lines += [f"mov r11, #{clamp[0]}", "vdup.16 q0, r11", f"mov r12, #{clamp[1]}", "vdup.16 q1, r12"]
    for q in vectors:
        lines += [f"vmax.s16 {q}, {q}, q0", f"vmin.s16 {q}, {q}, q1"]
    return lines
