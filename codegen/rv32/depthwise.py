# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolution on RV32IM: neighbouring output pixels of a row, one channel after another.

The weights of a channel stay in registers, and an input element is loaded once for all the outputs that it takes part
in: 3x3 with stride 1 and four pixels take 18 loads of activations for 36 products. Rows are given by pointers of their
own, so that rows of padding can lie elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from plinio_deploy.codegen.rv32 import xpulp
from plinio_deploy.codegen.rv32.assembly import IMMEDIATE, Output, framed, late_bias, plus, saturate, shifted, start

_WEIGHTS = tuple(f"s{index}" for index in range(9))
_SUMS = ("s9", "s10", "s11", "ra")
MOST_ROWS = 3
MOST_TAPS = len(_WEIGHTS)
MOST_PIXELS = len(_SUMS)


@dataclass(frozen=True)
class Row:
    """A row of output pixels.

    Attributes:
        channels: of input and output.
        kernel: rows and columns of the window, `MOST_ROWS` and `MOST_TAPS` at most.
        stride: input columns from one output pixel to the next.
        signed: whether activations are.
        output: requantization.
        pulp: whether the PULP extension may be used.
    """

    channels: int
    kernel: tuple[int, int]
    stride: int
    signed: bool
    output: Output
    pulp: bool

    def pixels(self, most: int) -> int:
        """Pixels of a block, no more than ``most``, whose elements are within reach of one pointer per row."""
        count = min(most, MOST_PIXELS)
        while count > 1 and ((count - 1) * self.stride + self.kernel[1] - 1) * self.channels > IMMEDIATE:
            count -= 1
        return count


def products(row: Row, pixels: int) -> list[str]:
    """Some neighbouring pixels, all channels: rows of input at ``a0`` on, then weights, biases and output."""
    height, width = row.kernel
    rows = [f"a{index}" for index in range(height)]
    weights, constants, out = (f"a{height + index}" for index in range(3))
    lines = [*plus("t6", out, row.channels, "t6"), "sw t6,0(sp)", *_bounds(row), ".balign 4", "1:"]
    lines += [f"lb {_WEIGHTS[tap]},{tap}({weights})" for tap in range(height * width)]
    lines += [start(_SUMS[pixel], f"0({constants})", row.output) for pixel in range(pixels)]
    columns = sorted({pixel * row.stride + kx for pixel in range(pixels) for kx in range(width)})
    places = [(ky, column) for ky in range(height) for column in columns]
    load = "lb" if row.signed else "lbu"
    loads = [f"{load} t{4 + i % 2},{column * row.channels}({rows[ky]})" for i, (ky, column) in enumerate(places)]
    lines.append(loads[0])
    for i, (ky, column) in enumerate(places):
        lines += loads[i + 1 : i + 2]
        for pixel in range(pixels):
            kx = column - pixel * row.stride
            if 0 <= kx < width:
                lines += _product(_SUMS[pixel], _WEIGHTS[ky * width + kx], f"t{4 + i % 2}", pulp=row.pulp)
    lines += late_bias("t4", f"0({constants})", row.output)
    lines += [f"lw t0,4({constants})", f"addi {constants},{constants},8", f"addi {weights},{weights},{height * width}"]
    lines += [f"addi {pointer},{pointer},1" for pointer in rows]
    for pixel in range(pixels):
        lines += _code(_SUMS[pixel], row, f"{pixel * row.output.pitch}({out})")
    return framed([*lines, f"addi {out},{out},1", "lw t6,0(sp)", f"bne {out},t6,1b"], 4)


def _bounds(row: Row) -> list[str]:
    """What saturation keeps in registers."""
    if not row.pulp:
        return [f"li t1,{row.output.span}"]
    if row.output.span == 255:
        return []
    return [f"li t2,{row.output.low}", f"li t3,{row.output.low + row.output.span}"]


def _product(total: str, weight: str, value: str, *, pulp: bool) -> list[str]:
    if pulp:
        return [xpulp.multiply_add(total, weight, value)]
    return [f"mul t6,{weight},{value}", f"add {total},{total},t6"]


def _code(total: str, row: Row, place: str) -> list[str]:
    lines = [*shifted(total, "t4", row.output), f"mulh {total},{total},t0"]
    if row.pulp:
        zero_point = row.output.shift + row.output.low
        lines += [f"addi {total},{total},{zero_point}"] if zero_point else []
        lines += xpulp.clip(total, row.output)
    else:
        lines += saturate(total, row.output)
    return [*lines, f"sb {total},{place}"]
