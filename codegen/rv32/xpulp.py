# SPDX-License-Identifier: Apache-2.0
"""The PULP extension of CV32E40P: dot products of four bytes, loads that advance their pointer, loops without branches.

The assembler of GCC 12 does not know these instructions; ``.insn`` spells them by their fields, as the core's
documentation gives them ("CORE-V Instruction Set Extensions"). A hardware loop's body has to be aligned to 4 bytes and
may hold no compressed instruction; ``.balign`` must come before ``.option norvc``, which makes it do nothing.
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
    shifted,
    starts,
)
from plinio_deploy.network import Int8Array

_WORDS = ("t4", "t6")


def load_word(register: str, pointer: str, step: int = 4) -> str:
    """``cv.lw``: load a word, then advance the pointer."""
    return f".insn i 0x0b,2,{register},{pointer},{step}"


def dot(total: str, activations: str, weights: str, *, signed: bool) -> str:
    """``cv.sdotsp.b`` or, for unsigned activations, ``cv.sdotusp.b``: four products onto a sum."""
    return f".insn r 0x7b,1,{0x54 if signed else 0x50:#x},{total},{activations},{weights}"


def shift_bytes(target: str, source: str, count: int, *, left: bool) -> str:
    """``cv.sll.sci.b`` or ``cv.sra.sci.b``: every byte shifted by a constant."""
    return f".insn r 0x7b,7,{(0x28 if left else 0x24) | (count & 1):#x},{target},{source},x{count >> 1}"


def loop(count: str, body: list[str]) -> list[str]:
    """``cv.setup``: run the body as often as the register ``count`` says; the innermost loop."""
    return [
        ".balign 4",
        ".option push",
        ".option norvc",
        f".insn i 0x2b,4,x14,{count},{len(body) + 1}",
        *body,
        ".option pop",
    ]


def clip(register: str, output: Output) -> list[str]:
    """Saturate to a code; ``t2`` and ``t3`` hold the bounds where they are those of no integer type."""
    if (output.low, output.span) == (0, 255):
        return [f".insn r 0x2b,3,0x39,{register},{register},x9"]
    if (output.low, output.span) == (-128, 255):
        return [f".insn r 0x2b,3,0x38,{register},{register},x8"]
    return [f".insn r 0x2b,3,0x2d,{register},{register},t2", f".insn r 0x2b,3,0x2b,{register},{register},t3"]


def requantize(channels: int, pixels: int, output: Output) -> list[str]:
    """Sums to codes; advances ``a2`` and ``a3``; ``t4`` may be spoilt."""
    zero_point = output.shift + output.low
    lines = [f"li t2,{output.low}", f"li t3,{output.low + output.span}"]
    if output.span == 255:
        lines = []
    for channel in range(channels):
        lines.append(f"lw {('t0', 't1')[channel % 2]},{8 * channel + 4}(a2)")
        lines += late_bias("t4", f"{8 * channel}(a2)", output)
        for pixel in range(pixels):
            register = ACCUMULATORS[channel * pixels + pixel]
            lines += [*shifted(register, "t4", output), f"mulh {register},{register},{('t0', 't1')[channel % 2]}"]
            lines += [f"addi {register},{register},{zero_point}"] if zero_point else []
            lines += [*clip(register, output), f"sb {register},{pixel * output.pitch + channel}(a3)"]
    return [*lines, f"addi a2,a2,{8 * channels}", f"addi a3,a3,{channels}"]


def words(channels: int, bits: int) -> int:
    """Words that hold four taps of a block's channels."""
    return -(-channels * bits // 8)


def pack_words(rows: Int8Array, bits: int, block: int) -> list[int]:
    """Weights as the kernel reads them: blocks of channels, four taps, words; byte ``t`` of a word is for tap ``t``.

    A byte holds the weights of ``8 / bits`` neighbouring channels, the first lowest.
    """
    per_word = 8 // bits
    found: list[int] = []
    for first in range(0, len(rows), block):
        part = rows[first : first + block].astype(np.int64) & ((1 << bits) - 1)
        padded = np.zeros((words(len(part), bits) * per_word, rows.shape[1]), dtype=np.int64)
        padded[: len(part)] = part
        lanes = padded.reshape(-1, per_word, rows.shape[1]) << (np.arange(per_word) * bits)[None, :, None]
        taps = lanes.sum(axis=1).reshape(-1, rows.shape[1] // 4, 4) << (np.arange(4) * 8)
        found += [int(word) for word in taps.sum(axis=2).T.ravel()]
    return found


def products(
    channels: int, bits: int, block: int, pixels: int, depth: int, pitch: int, output: Output, *, signed: bool
) -> list[str]:
    """Every pixel of the block by all channels of a run; arguments as for `assembly.byte_products`."""

    def taps(width: int) -> list[str]:
        count, per_word = words(width, bits), 8 // bits
        lines = [f"lw {PIXELS[pixel]},{pixel * pitch}(a0)" for pixel in range(1, pixels)]
        lines += [load_word(PIXELS[0], "a0"), load_word(_WORDS[0], "a1")]
        lines += [load_word(_WORDS[1], "a1")] if count > 1 else []
        for channel in range(width):
            word, lane = divmod(channel, per_word)
            weights = source = _WORDS[word % 2]
            if bits < 8:
                weights, up = "t5", 8 - bits - lane * bits
                lines += [shift_bytes("t5", source, up, left=True)] if up else []
                lines.append(shift_bytes("t5", "t5" if up else source, 8 - bits, left=False))
            for pixel in range(pixels):
                register = ACCUMULATORS[channel * pixels + pixel]
                lines.append(dot(register, PIXELS[pixel], weights, signed=signed))
            if lane == per_word - 1 and word + 2 < count:
                lines.append(load_word(source, "a1"))
        return lines

    def body(width: int) -> list[str]:
        lines = [*starts(width, pixels, output), f"li t5,{depth // 4}", *loop("t5", taps(width))]
        return [*lines, *plus("a0", "a0", -depth, "t0"), *requantize(width, pixels, output)]

    return framed(over_channels(channels, block, {width: body(width) for width in blocks(channels, block)}), 16)


def multiply_add(total: str, first: str, second: str) -> str:
    """``cv.mac``: a product onto a sum."""
    return f".insn r 0x2b,3,0x48,{total},{first},{second}"


def load_byte(register: str, pointer: str, *, signed: bool) -> str:
    """``cv.lb`` or ``cv.lbu``: load a byte, then advance the pointer by one."""
    return f".insn i 0x0b,{0 if signed else 4},{register},{pointer},1"


def add_loop(elements: int, shift: int, output: Output, *, signed: tuple[bool, bool]) -> list[str]:
    """Addition of bytes: ``a0``, ``a1`` inputs, ``a2`` output, ``a3``, ``a4`` factors of the inputs, ``a5`` offset."""
    body = [
        load_byte("t0", "a0", signed=signed[0]),
        load_byte("t1", "a1", signed=signed[1]),
        "mul t0,t0,a3",
        multiply_add("t0", "t1", "a4"),
        "add t0,t0,a5",
        *([f"srai t0,t0,{shift}"] if shift else []),
        *clip("t0", output),
        ".insn s 0x2b,0,t0,1(a2)",
    ]
    bounds = [] if output.span == 255 else [f"li t2,{output.low}", f"li t3,{output.low + output.span}"]
    return [*bounds, f"li t4,{elements}", *loop("t4", body), "ret"]
