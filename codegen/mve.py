# SPDX-License-Identifier: Apache-2.0
"""Dot products for cores with the vector extension (MVE, Helium: Cortex-M55, M85): sixteen 8-bit products at a time.

``VMLADAVA`` multiplies sixteen signed bytes by sixteen others and adds the sum of the products to a general register.

Activations are signed bytes: unsigned codes of 8 bits have their top bit flipped on the way into scratch, which takes
128 from them; codes of fewer bits become unsigned digits. The biases make up for both. Weights of 4 and 2 bits lie in
the upper bits of the bytes they are multiplied as, so one shift or one mask unpacks sixteen of them; their accumulators
are 16 or 64 times as large, and one shift takes that back before the requantization. Four output codes of 4 or 2 bits
are packed by one more such product, with powers of two.

Weights lie in the order in which they are read: groups of four output channels; steps along K; a vector of 16 bytes per
channel and step. A step is 16, 32 or 64 long: byte ``i`` of a 4-bit vector holds ``w[i] | w[16 + i] << 4``, of a 2-bit
vector ``w[i] | w[16 + i] << 2 | w[32 + i] << 4 | w[48 + i] << 6``. What is missing at the end is zero.

Registers of the products of two pixels by four channels (even ones, as the instruction demands)::

    r0, r2, r4, r6        accumulators of pixel 0, channels 0 to 3
    r8, r10, r12, lr      accumulators of pixel 1
    r1, r3, r5            next weights, next vector of pixel 0, of pixel 1
    r7, r9, r11           out, constants, counter
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from plinio_deploy.codegen import runs
from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.pack import Array, int32_array
from plinio_deploy.codegen.runs import CHANNELS, Run
from plinio_deploy.fixedpoint import accumulator_range
from plinio_deploy.network import Conv, Hi32, Linear, Tensor

LANES = 16

_ACC = (("r0", "r2", "r4", "r6"), ("r8", "r10", "r12", "lr"))
_UNROLLED = {8: 4, 4: 2, 2: 1}
"""Steps that are written one after another instead of in a loop."""

Lines = list[str]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Products:
    """Dot products of a layer: geometry and what becomes of the accumulators.

    Attributes:
        depth: length of a dot product.
        row_bytes: output bytes from a pixel to the next one.
        shift: left shift of the sum of products.
        bits, signed: of output codes.
        zero_point, low, high: of the output.
    """

    depth: int
    row_bytes: int
    shift: int
    bits: int
    signed: bool
    zero_point: int
    low: int
    high: int

    @property
    def vectors(self) -> int:
        """Vectors of activations per pixel."""
        return -(-self.depth // LANES)

    @property
    def padded(self) -> int:
        """Bytes of a pixel's activations in scratch."""
        return self.vectors * LANES

    def steps(self, bits: int) -> int:
        """Steps along K, the last one perhaps incomplete."""
        return -(-self.vectors * bits // 8)


def products_of(op: Conv | Linear, output: Tensor) -> Products:
    """The dot products of a layer that `can_multiply` accepts."""
    assert isinstance(op.requant, Hi32)
    low, high = op.requant.clamp
    depth = op.weights.codes.size // op.weights.out_channels
    return Products(depth, output.row_bytes, op.requant.shift, output.bits, output.signed, output.zero_point, low, high)


def can_multiply(op: Conv | Linear, source: Tensor, output: Tensor) -> bool:
    """Whether the kernels here compute a layer exactly: one high-word product, accumulators that fit.

    Rows of codes have to end where a byte does.
    """
    if not isinstance(op.requant, Hi32) or source.channels * source.bits % 8:
        return False
    if max(op.weights.codes.size // op.weights.out_channels + LANES, output.row_bytes) >= 1 << 16:
        return False  # constants of 16 bits
    flat = op.weights.codes.reshape(op.weights.out_channels, -1)
    bias = np.zeros_like(op.bias) if op.requant.shift else op.bias
    low, high = accumulator_range(flat, bias.astype(np.int64), (source.qmin, source.qmax))
    peak = np.maximum(np.abs(low), np.abs(high)) + 256 * np.abs(flat.astype(np.int64)).sum(axis=1)
    return bool((peak << np.array([_SCALES[bits] for bits in widths_of(op)])).max() < 1 << 31)


_SCALES = {8: 0, 4: 4, 2: 6}
"""Bits by which an accumulator is scaled up, by the width of its weights."""


def constants_of(op: Conv | Linear) -> int:
    """Words per channel: where the accumulator starts, the multiplier; between them the bias if it is added later."""
    assert isinstance(op.requant, Hi32)
    return 3 if op.requant.shift else 2


def widths_of(op: Conv | Linear) -> tuple[int, ...]:
    """Bits as which the weights of each channel are packed, in whole groups: packed output codes are stored by them."""
    return runs.packed_widths(op.weights.bits)


def runs_of(op: Conv | Linear) -> tuple[Run, ...]:
    """The runs of a layer, in order: bytes of weights, words of constants."""
    vectors = -(-op.weights.codes.size // op.weights.out_channels // LANES)
    return runs.runs_of(widths_of(op), lambda bits: LANES * -(-vectors * bits // 8), constants_of(op))


def offset(source: Tensor) -> int:
    """What is added to codes when they become signed bytes."""
    if source.bits == 8:
        return 0 if source.signed else -128
    return -source.qmin


def flip(source: Tensor) -> int:
    """The bit of a code that is flipped to add `offset`."""
    return abs(offset(source))


def arrays(op: Conv | Linear, source: Tensor) -> tuple[Array, ...]:
    """Weights in reading order as words, so that they are aligned; per group four biases and four multipliers."""
    flat = op.weights.codes.reshape(op.weights.out_channels, -1).astype(np.int64)
    start = -offset(source) * flat.sum(axis=1)
    bias = op.bias.astype(np.int64)
    words_each = constants_of(op)
    start += bias if words_each == 2 else 0
    multiplier = np.broadcast_to(op.requant.multiplier.astype(np.int64), bias.shape)
    data = bytearray()
    constants: list[int] = []
    for run in runs_of(op):
        channels = slice(run.first, run.first + run.channels)
        data += _pack(flat[channels], run.bits)
        each = np.zeros((run.whole, words_each), dtype=np.int64)
        each[: run.channels, 0] = start[channels] << _SCALES[run.bits]
        each[: run.channels, 1] = bias[channels]
        each[: run.channels, -1] = multiplier[channels]
        constants += each.reshape(-1, CHANNELS, words_each).transpose(0, 2, 1).ravel().tolist()
    words = np.frombuffer(bytes(data), dtype="<u4").tolist()
    return (
        Array(
            "_w", "uint32_t", tuple(words), "vectors of 16 bytes: of four channels, then along K, then of the next four"
        ),
        int32_array(
            "_q", constants, "per four channels: start of accumulators, biases if sums are shifted, multipliers"
        ),
    )


def _pack(flat: IntArray, bits: int) -> bytes:
    """Weights of a run as bytes in reading order."""
    lanes = 8 // bits
    channels = -(-flat.shape[0] // CHANNELS) * CHANNELS
    steps = -(-flat.shape[1] // (LANES * lanes))
    whole = np.zeros((channels, steps * LANES * lanes), dtype=np.int64)
    whole[: flat.shape[0], : flat.shape[1]] = flat
    split = whole.reshape(channels // CHANNELS, CHANNELS, steps, lanes, LANES).transpose(0, 2, 1, 4, 3)
    shifts = np.arange(lanes) * bits
    packed: npt.NDArray[np.uint8] = ((split & ((1 << bits) - 1)) << shifts).sum(axis=-1).astype(np.uint8)
    return packed.tobytes()


def products(layout: Products, bits: int, pixels: int, *, partial: bool) -> Lines:
    """A micro-kernel: one or two pixels by a run of channels.

    Called as ``(x, w, q, out, channels)``; the vectors of pixel 1 follow those of pixel 0.

    Args:
        layout: of the layer.
        bits: of the run's weights.
        pixels: 1 or 2.
        partial: whether ``channels`` may be other than a multiple of 4.
    """
    wide = bits < 8 or layout.bits < 8
    lines = ["push {r4-r11, lr}", *(["vpush {d8-d15}"] if wide else [])]
    count = f"[sp, #{100 if wide else 36}]"
    lines += ["mov r9, r2", "mov r7, r3", "mov r3, r0"]
    lines += _add("r5", "r3", layout.padded, "r11") if pixels == 2 else []
    lines += _packing(layout.bits) if layout.bits < 8 else []
    if bits < 8:
        lines += [f"vmov.i8 q7, #{0xF0 if bits == 4 else 0xC0:#x}"]
    lines += ["1:"]
    if pixels == 2:
        lines += ["ldrd r12, lr, [r9, #8]", "ldrd r8, r10, [r9]"]
    lines += ["ldrd r0, r2, [r9], #8", "ldrd r4, r6, [r9], #8"]
    lines += _along(layout, bits, pixels)
    lines += _requantize(layout, _SCALES[bits], pixels, count if partial else "")
    for x in ("r3", "r5")[:pixels]:
        lines += _add(x, x, -layout.padded, "r0")
    lines += [f"ldr r11, {count}", "subs r11, #4", f"str r11, {count}", "bgt 1b"]
    return [*lines, *(["vpop {d8-d15}"] if wide else []), "pop {r4-r11, pc}"]


def _add(to: str, register: str, value: int, spare: str) -> Lines:
    """``to = register + value``."""
    name = "add" if value >= 0 else "sub"
    if abs(value) < 1 << 12:
        return [f"{name}w {to}, {register}, #{abs(value)}"]
    return [f"movw {spare}, #{abs(value)}", f"{name} {to}, {register}, {spare}"]


def _along(layout: Products, bits: int, pixels: int) -> Lines:
    """All products of a group."""
    lanes = 8 // bits
    whole, rest = divmod(layout.vectors, lanes)
    unroll, turns = whole, 1
    if whole > _UNROLLED[bits]:
        unroll = max(n for n in range(1, _UNROLLED[bits] + 1) if whole % n == 0)
        if unroll < _UNROLLED[bits] // 2:
            unroll = _UNROLLED[bits] // 2
        turns = whole // unroll
    lines: Lines = []
    if turns > 1:
        lines += [f"movw r11, #{turns}", "2:", *_step(bits, lanes, pixels) * unroll, "subs r11, #1", "bne 2b"]
    elif whole:
        lines += _step(bits, lanes, pixels) * unroll
    lines += _step(bits, lanes, pixels) * (whole - unroll * turns)
    return lines + (_step(bits, rest, pixels) if rest else [])


def _step(bits: int, vectors: int, pixels: int) -> Lines:
    """One step of up to ``8 / bits`` vectors of activations."""
    if bits == 8:
        return _step8(pixels)
    if bits == 4 or vectors <= 2:
        return _half(bits, 0, vectors, pixels, last=True)
    return [*_half(2, 0, 2, pixels, last=False), *_half(2, 2, vectors - 2, pixels, last=True)]


def _step8(pixels: int) -> Lines:
    """Loads and products in turns, which the core overlaps."""
    xs, ws = ("q0", "q1")[:pixels], ("q2", "q3")
    lines = [f"vldrb.8 {ws[0]}, [r1], #16", f"vldrb.8 {xs[0]}, [r3], #16"]
    for c in range(CHANNELS):
        weights = ws[c % 2]
        lines += [f"vmladava.s8 {_ACC[0][c]}, {xs[0]}, {weights}"]
        if c == 0 and pixels == 2:
            lines += ["vldrb.8 q1, [r5], #16"]
        if c < CHANNELS - 1:
            lines += [f"vldrb.8 {ws[(c + 1) % 2]}, [r1], #16"]
        lines += [f"vmladava.s8 {_ACC[1][c]}, q1, {weights}"] if pixels == 2 else []
    return lines


def _half(bits: int, first: int, vectors: int, pixels: int, *, last: bool) -> Lines:
    """Up to two of the vectors that are packed in each byte, from ``first`` on."""
    xs = [("q0", "q1"), ("q2", "q3")]
    lines = [f"vldrb.8 {xs[p][v]}, [{('r3', 'r5')[p]}], #16" for p in range(pixels) for v in range(vectors)]
    for c in range(CHANNELS):
        place = "[r1], #16" if last else (f"[r1, #{LANES * c}]" if c else "[r1]")
        lines += [f"vldrb.8 q4, {place}"]
        for v in range(vectors):
            up = 8 - bits * (first + v + 1)
            masked = first + v > 0
            lines += [f"vshl.i8 q5, q4, #{up}"] if up else []
            lines += [f"vand q5, q{5 if up else 4}, q7"] if masked else []
            lines += [f"vmladava.s8 {_ACC[p][c]}, {xs[p][v]}, q5" for p in range(pixels)]
    return lines


def _requantize(layout: Products, scale: int, pixels: int, count: str) -> Lines:
    """From accumulators to codes in memory; ``count``: where channels are counted, if fewer than 4 may be left."""
    lines = ["vldrw.32 q3, [r9], #16"] if layout.shift else []
    lines += ["vldrw.32 q2, [r9], #16"]
    down = scale - layout.shift
    full = layout.bits == 8 and not layout.zero_point
    full = full and (layout.low, layout.high) == ((-128, 127) if layout.signed else (0, 255))
    for p in range(pixels):
        a, b, c, d = _ACC[p]
        lines += [f"vmov q{p}[2], q{p}[0], {a}, {c}", f"vmov q{p}[3], q{p}[1], {b}, {d}"]
        lines += [f"vshr.s32 q{p}, q{p}, #{down}"] if down > 0 else []
        lines += [f"vshl.i32 q{p}, q{p}, #{-down}"] if down < 0 else []
        lines += [f"vadd.i32 q{p}, q{p}, q3"] if layout.shift else []
        lines += [f"vmulh.s32 q{p}, q{p}, q2"]
        if full and layout.signed:
            lines += [f"vqmovnb.s32 q{p}, q{p}", f"vqmovnb.s16 q{p}, q{p}"]
        elif full:
            lines += [f"vqmovunb.s32 q{p}, q{p}", f"vqmovnb.u16 q{p}, q{p}"]
    lines += [] if full else _clamp(layout, pixels)
    if layout.bits < 8:
        return lines + _store_digits(layout, pixels, count)
    lines += [f"ldr r0, {count}", "vctp.32 r0"] if count else []
    if pixels == 2:
        lines += [*_add("r2", "r7", layout.row_bytes, "r4"), *_store("q1", "[r2]", predicated=bool(count))]
    return [*lines, *_store("q0", "[r7], #4", predicated=bool(count))]


def _clamp(layout: Products, pixels: int) -> Lines:
    """Zero point and bounds that no saturating instruction has."""
    vectors = [f"q{p}" for p in range(pixels)]
    lines: Lines = []
    up = 1 << (layout.bits - 1) if layout.bits < 8 and layout.signed else 0
    if layout.zero_point + up:
        lines += _constant("r0", layout.zero_point + up) + [f"vadd.i32 {q}, {q}, r0" for q in vectors]
    for name, bound in (("vmax", layout.low + up), ("vmin", layout.high + up)):
        lines += [*_constant("r0", bound), "vdup.32 q2, r0", *(f"{name}.s32 {q}, {q}, q2" for q in vectors)]
    return lines


def _packing(bits: int) -> Lines:
    """What four unsigned digits are multiplied by to be one number, in q6."""
    lines = [f"movw {register}, #{1 << bits * lane}" for lane, register in enumerate(("r0", "r2", "r4", "r6"))]
    return [*lines, "vmov q6[2], q6[0], r0, r4", "vmov q6[3], q6[1], r2, r6"]


def _store_digits(layout: Products, pixels: int, count: str) -> Lines:
    """Four codes of fewer than 8 bits, which were clamped as unsigned digits; missing ones become zeros."""
    lines: Lines = []
    flip = f"#{0x88888888 if layout.bits == 4 else 0xAAAAAAAA:#x}"
    if count:
        lines += [f"ldr r11, {count}", "vctp.32 r11"]
        lines += [f"vmov.i32 q2, #{1 << layout.bits - 1}"] if layout.signed else []
    for p in reversed(range(pixels)):
        lines += [f"veor q{p}, q{p}, q2"] if count and layout.signed else []
        lines += ["vpst", f"vmladavt.u32 r0, q{p}, q6"] if count else [f"vmladav.u32 r0, q{p}, q6"]
        lines += [f"eor r0, {flip}"] if layout.signed and not count else []
        lines += _add("r2", "r7", layout.row_bytes, "r4") if p else []
        nbytes = layout.bits // 2
        place = "[r2]" if p else f"[r7], #{nbytes}"
        if count and nbytes > 1:
            lines += ["cmp r11, #2", "ite gt", f"strhgt r0, {place}", f"strble r0, {place}"]
        else:
            lines += [f"{'strh' if nbytes > 1 else 'strb'} r0, {place}"]
    return lines


def _constant(register: str, value: int) -> Lines:
    return [f"mov {register}, #{value}" if value >= 0 else f"mvn {register}, #{-1 - value}"]


def _store(vector: str, place: str, *, predicated: bool) -> Lines:
    """The low byte of each of four lanes."""
    return ["vpst", f"vstrbt.32 {vector}, {place}"] if predicated else [f"vstrb.32 {vector}, {place}"]


def variables(op: Conv | Linear, output: Tensor, emitter: Emitter, pixels: int) -> dict[str, object]:
    """What ``parts/mve_products.c.j2`` and its callers need."""
    layout, parts = products_of(op, output), runs_of(op)
    return {
        "layout": layout,
        "pixels": pixels,
        "runs": parts,
        "kernels": [
            (bits, products(layout, bits, pixels, partial=partial)) for bits, partial in runs.widths_of(parts).items()
        ],
        "weights": emitter.array("_w"),
        "constants": emitter.array("_q"),
    }
