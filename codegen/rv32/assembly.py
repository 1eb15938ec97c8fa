# SPDX-License-Identifier: Apache-2.0
"""Lines of RV32IM assembly: functions, constants, requantization. Registers by their ABI names.

The products of matrices keep to one plan. ``a0`` patches, ``a1`` weights, ``a2`` biases and multipliers, ``a3`` output;
sixteen accumulators; ``t0`` to ``t3`` the pixels of one tap; what is left for weights and products. That is every
register but ``sp``, ``gp`` and ``tp``, which is why no compiler gets along without spilling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SAVED = ("ra", *(f"s{index}" for index in range(12)))
ACCUMULATORS = (*SAVED[1:], "a4", "a5", "a6", "a7")
PIXELS = ("t0", "t1", "t2", "t3")
IMMEDIATE = 2047
"""Greatest immediate of an addition, offset of a load."""


@dataclass(frozen=True)
class Output:
    """How sums become codes, and where they go.

    Attributes:
        pitch: bytes from one pixel's codes to the next one's.
        shift: added to the scaled sum: zero point less the least code.
        low: least code.
        span: greatest code less the least.
        left: by which sums are shifted to the left before they are scaled; nearly always 0. The bias is in units of the
            shifted sum then, so sums start from 0 and take it at the end.
    """

    pitch: int
    shift: int
    low: int
    span: int
    left: int = 0


def plus(target: str, source: str, value: int, scratch: str) -> list[str]:
    """``target = source + value``; ``scratch`` is spoilt where the value is no immediate."""
    if -IMMEDIATE - 1 <= value <= IMMEDIATE:
        return [f"addi {target},{source},{value}"]
    return [f"li {scratch},{value}", f"add {target},{source},{scratch}"]


def framed(body: Sequence[str], local_bytes: int) -> list[str]:
    """A function's body between saving and restoring all registers that a caller owns; locals lie at ``0(sp)``."""
    frame = -(-(local_bytes + 4 * len(SAVED)) // 16) * 16
    places = [(name, frame - 4 * (index + 1)) for index, name in enumerate(SAVED)]
    return [
        f"addi sp,sp,-{frame}",
        *(f"sw {name},{place}(sp)" for name, place in places),
        *body,
        *(f"lw {name},{place}(sp)" for name, place in places),
        f"addi sp,sp,{frame}",
        "ret",
    ]


def over_channels(channels: int, block: int, body: dict[int, list[str]]) -> list[str]:
    """Blocks of channels one after another, then what is left of them.

    Args:
        channels: of the run.
        block: channels of a whole block.
        body: code of a block by its channels; advances ``a3`` by as many.
    """
    whole, rest = divmod(channels, block)
    lines: list[str] = []
    if whole > 1:
        lines += [*plus("t0", "a3", whole * block, "t0"), "sw t0,0(sp)", ".balign 4", "1:"]
    if whole:
        lines += body[block]
    if whole > 1:
        lines += ["lw t0,0(sp)", "bne a3,t0,1b"]
    return lines + (body[rest] if rest else [])


def blocks(channels: int, block: int) -> tuple[int, ...]:
    """Channels of each different block that `over_channels` needs."""
    whole, rest = divmod(channels, block)
    return (*((block,) if whole else ()), *((rest,) if rest else ()))


def saturate(register: str, output: Output) -> list[str]:
    """A scaled sum to a code without a branch; ``t1`` holds the span; ``t2`` and ``t3`` are spoilt."""
    lines = [f"addi {register},{register},{output.shift}"] if output.shift else []
    lines += [f"srai t2,{register},31", "not t2,t2", f"and {register},{register},t2", f"sub t2,t1,{register}"]
    if output.span == 255:
        # Above the range: all ones, of which the byte that is stored keeps the greatest code.
        lines += ["srai t2,t2,31", f"or {register},{register},t2"]
    else:
        lines += ["srai t3,t2,31", "and t2,t2,t3", f"add {register},{register},t2"]
    return lines + ([f"addi {register},{register},{output.low}"] if output.low else [])


def shifted(register: str, bias: str, output: Output) -> list[str]:
    """A sum that started from 0, in units of the bias and with it; nothing where the sum started as its bias."""
    return [f"slli {register},{register},{output.left}", f"add {register},{register},{bias}"] if output.left else []


def late_bias(register: str, place: str, output: Output) -> list[str]:
    """The bias for `shifted`, where there is one to add."""
    return [f"lw {register},{place}"] if output.left else []


def requantize(channels: int, pixels: int, output: Output) -> list[str]:
    """Sixteen sums or fewer to codes, channel by channel; advances ``a2`` and ``a3``; ``t4`` may be spoilt."""
    lines = [f"li t1,{output.span}"]
    for channel in range(channels):
        lines += [f"lw t0,{8 * channel + 4}(a2)", *late_bias("t4", f"{8 * channel}(a2)", output)]
        for pixel in range(pixels):
            register = ACCUMULATORS[channel * pixels + pixel]
            lines += [*shifted(register, "t4", output), f"mulh {register},{register},t0", *saturate(register, output)]
            lines.append(f"sb {register},{pixel * output.pitch + channel}(a3)")
    return [*lines, f"addi a2,a2,{8 * channels}", f"addi a3,a3,{channels}"]


def start(register: str, place: str, output: Output) -> str:
    """A sum starts as its channel's bias, or from 0 if it is shifted first."""
    return f"li {register},0" if output.left else f"lw {register},{place}"


def starts(channels: int, pixels: int, output: Output) -> list[str]:
    """Every sum of a block at its start."""
    return [
        start(ACCUMULATORS[channel * pixels + pixel], f"{8 * channel}(a2)", output)
        for channel in range(channels)
        for pixel in range(pixels)
    ]


def byte_products(
    channels: int, block: int, pixels: int, depth: int, pitch: int, output: Output, *, signed: bool
) -> list[str]:
    """8-bit weights: every pixel of the block by all channels of a run.

    Per tap ``pixels`` and ``block`` loads, and a multiplication and an addition per product.

    Args:
        channels: of the run.
        block: channels at a time; ``block * pixels`` is at most 16.
        pixels: patches at ``a0``, ``pitch`` bytes apart.
        depth: taps, a multiple of 4.
        pitch: see ``pixels``.
        output: requantization.
        signed: whether activations are.
    """
    load = "lb" if signed else "lbu"
    weights = ("t4", "t5")

    def tap(place: int, width: int) -> list[str]:
        lines = [f"{load} {PIXELS[pixel]},{place + pixel * pitch}(a0)" for pixel in range(pixels)]
        lines += [f"lb {weights[channel]},{place * width + channel}(a1)" for channel in range(min(2, width))]
        for channel in range(width):
            for pixel in range(pixels):
                register = ACCUMULATORS[channel * pixels + pixel]
                lines += [f"mul t6,{weights[channel % 2]},{PIXELS[pixel]}", f"add {register},{register},t6"]
            if channel + 2 < width:
                lines.append(f"lb {weights[channel % 2]},{place * width + channel + 2}(a1)")
        return lines

    def body(width: int) -> list[str]:
        lines = [*starts(width, pixels, output), *plus("ra", "a0", depth, "ra"), ".balign 4", "2:"]
        for place in range(4):
            lines += tap(place, width)
        lines += ["addi a0,a0,4", f"addi a1,a1,{4 * width}", "bne a0,ra,2b"]
        return [*lines, *plus("a0", "a0", -depth, "t0"), *requantize(width, pixels, output)]

    return framed(over_channels(channels, block, {width: body(width) for width in blocks(channels, block)}), 16)
