# SPDX-License-Identifier: Apache-2.0
"""The micro-kernels of Winograd's method as Thumb-2 text; `codegen/dsp/winograd.py` has the mathematics.

``tile`` transforms a patch: columns of the input first, through a buffer on the stack, then rows. Registers: r0 the
transformed patch, r1, r2, r3, r12 the four rows; r4 to r11 and lr what is computed.

``products`` computes 2 x 4 outputs of four channels. Registers: r0 the transformed patch, r1 weights; r2, r3 words of
the two tiles; r12, lr weights; r4 to r7 accumulators of tile 0, channels 0 to 3, r8 to r11 those of tile 1. Sums of the
16 places are combined on the way: where two are added anyway, one goes on where the other ended, so that combining them
takes 12 additions per tile and channel instead of 24. Words on the stack: see `_SLOTS`.

``filters`` transforms the weights of four output channels. Registers: r0 and r2 the transformed weights and the second
half of their places, r1 weights; r4 to r6, r7 to r9 and r10 to r12 one row of nine taps each; r3 and lr what is made.
"""

from __future__ import annotations

from plinio_deploy.codegen.dsp.assembly import PIXELS, PRODUCTS, REQUANTIZE, Lines, Output, codes
from plinio_deploy.codegen.dsp.blocks import Variant
from plinio_deploy.codegen.dsp.winograd import ORDER, Filters, Patch, Steps

MOST = 16
"""Most pairs of channels per turn of the inner loop."""

_ACCUMULATORS = (*PIXELS[0], *PIXELS[1])

# Stack of `tile`: rows of columns that are transformed, six words each; end of the first row of the input.
_ROW, _ROWS_END = 24, 96

# Stack of `products`: eight accumulators each; then return address, output, constants, patch, end of a place.
_SLOTS = {"x0": 0, "x1": 32, "y0": 64, "y1": 96, "t": 128}
_RETURN, _OUT, _CONSTANTS, _PATCH, _END, _FRAME = 160, 164, 168, 172, 176, 184

# Stack of `filters`: nine words of bytes, then how often loops are still to be gone through.
_GROUPS, _LANES, _DIGITS, _FILTERS_FRAME = 36, 40, 44, 48


def tile(patch: Patch) -> Lines:
    """The micro-kernel ``(transformed, input, bytes of a row of the input)``; reads whole words of channels."""
    lines = ["push {r4-r11, lr}", f"sub sp, #{_ROWS_END + 8}"]
    lines += ["add r3, r1, r2, lsl #1", "add r12, r3, r2", "add r2, r1, r2"]
    lines += [f"add lr, r1, #{patch.pixel_bytes}", f"str lr, [sp, #{_ROWS_END}]", "1:"]
    for half in range(2):
        for first, second in ((2, 3), (4, 5), (1, 0)):
            lines += _two_columns(patch, half, first, second)
        lines += _transform_rows(patch)
    lines += [f"ldr lr, [sp, #{_ROWS_END}]", "cmp r1, lr", "bne 1b"]
    return [*lines, f"add sp, #{_ROWS_END + 8}", "pop {r4-r11, pc}"]


def _two_columns(patch: Patch, half: int, first: int, second: int) -> Lines:
    """``B^T`` times two columns of the input, to the stack."""
    extend = "sxtb16" if patch.signed else "uxtb16"
    turn = ", ror #8" if half else ""
    lines: Lines = []
    spare = "lr"
    results: dict[int, tuple[str, ...]] = {}
    for column, registers in ((first, PIXELS[0]), (second, PIXELS[1])):
        for register, row in zip(registers, ("r1", "r2", "r3", "r12"), strict=True):
            last = half == 1 and column == 0
            lines += [f"ldr {register}, [{row}], #4" if last else f"ldr {register}, [{row}, #{_at(patch, column)}]"]
        lines += [f"{extend} {register}, {register}{turn}" for register in registers]
        a, b, c, d = registers
        lines += [f"sadd16 {spare}, {b}, {c}", f"ssub16 {a}, {a}, {c}", f"ssub16 {d}, {d}, {b}"]
        lines += [f"ssub16 {c}, {c}, {b}"]
        results[column] = (a, spare, c, d)
        spare = b
    low = min(first, second)
    for place, which in enumerate(ORDER):
        pair = f"{results[low][which]}, {results[low + 1][which]}"
        lines += [f"strd {pair}, [sp, #{_ROW * place + 4 * low}]"]
    return lines


def _at(patch: Patch, column: int) -> int:
    return column * patch.pixel_bytes


def _transform_rows(patch: Patch) -> Lines:
    """The result times ``B``, of both tiles, to the transformed patch."""
    h = ("r4", "r5", "r6", "r7", "r8", "r9")
    step = patch.place_bytes
    lines: Lines = []
    for place in range(len(ORDER)):
        lines += [f"ldrd {h[i]}, {h[i + 1]}, [sp, #{_ROW * place + 4 * i}]" for i in (0, 2, 4)]
        for column in ORDER:
            op, i, j = (("ssub16", 0, 2), ("sadd16", 1, 2), ("ssub16", 2, 1), ("ssub16", 3, 1))[column]
            lines += [f"{op} r10, {h[i]}, {h[j]}", f"{op} r11, {h[i + 2]}, {h[j + 2]}", f"strd r10, r11, [r0], #{step}"]
    return [*lines, f"movw lr, #{16 * step - 8}", "sub r0, lr"]


def products(patch: Patch, out: Output, variant: Variant, steps: Steps) -> Lines:
    """The micro-kernel ``(transformed, out, weights, constants)``: 2 x 4 outputs of four channels."""
    lines = ["push {r4-r11, lr}", f"sub sp, #{_FRAME}", f"str r1, [sp, #{_OUT}]", "mov r1, r2", PRODUCTS]
    lines += ["ldm r3, {r8-r11}", "ldm r3!, {r4-r7}", f"str r3, [sp, #{_CONSTANTS}]"]
    # The two rows of B^T that both rows of outputs take part in.
    for columns, other in ((("x0", "x1"), None), (("t", "y1"), ("x0", "x1"))):
        lines += ["bl 1f" if other is None else "bl 2f", *_save("t"), "bl 1f", *_differences("t", columns[1]), "bl 1f"]
        lines += _save("x0") if other is None else _both("x0", "y0")
        lines += [*_restore(columns[1]), "bl 1f"]
        lines += _save("x1") if other is None else _both("x1", "y1")
    # Those of one row of outputs each.
    for row, (left, right) in enumerate((("x0", "x1"), ("y0", "y1"))):
        lines += [PRODUCTS, "bl 2f", *_save("t"), "bl 1f", *_added(left, right), "bl 1f"]
        lines += [*_codes(out, variant, steps, row, 0), PRODUCTS, *_restore(right), "bl 1f"]
        lines += _codes(out, variant, steps, row, 1)
    return [*lines, f"add sp, #{_FRAME}", "pop {r4-r11, pc}", *_place(patch)]


def _pairs() -> list[tuple[int, str, str]]:
    """Accumulators two by two, with their place in a slot."""
    return [(4 * i, _ACCUMULATORS[i], _ACCUMULATORS[i + 1]) for i in range(0, 8, 2)]


def _save(slot: str) -> Lines:
    return [f"add r2, sp, #{_SLOTS[slot]}", "stm r2, {r4-r11}"]


def _restore(slot: str) -> Lines:
    return [f"add r2, sp, #{_SLOTS[slot]}", "ldm r2, {r4-r11}"]


def _differences(first: str, target: str) -> Lines:
    """``target = first - (accumulators - first)``: of two sums of which the second went on from the first."""
    lines: Lines = []
    for at, a, b in _pairs():
        lines += [f"ldrd r2, r3, [sp, #{_SLOTS[first] + at}]", f"rsb r2, {a}, r2, lsl #1"]
        lines += [f"rsb r3, {b}, r3, lsl #1", f"strd r2, r3, [sp, #{_SLOTS[target] + at}]"]
    return lines


def _both(first: str, target: str) -> Lines:
    """``first, target = first + accumulators, first - accumulators``."""
    lines: Lines = []
    for at, a, b in _pairs():
        lines += [f"ldrd r2, r3, [sp, #{_SLOTS[first] + at}]", f"add r2, {a}", f"add r3, {b}"]
        lines += [f"strd r2, r3, [sp, #{_SLOTS[first] + at}]"]
        lines += [f"sub {a}, r2, {a}, lsl #1", f"sub {b}, r3, {b}, lsl #1"]
    return lines + _save(target)


def _added(left: str, right: str) -> Lines:
    """``right += t - (accumulators - t)``, then ``accumulators += left``."""
    lines: Lines = []
    for at, a, b in _pairs():
        lines += [f"ldrd r2, r3, [sp, #{_SLOTS['t'] + at}]", f"ldrd r12, lr, [sp, #{_SLOTS[right] + at}]"]
        lines += [f"rsb r2, {a}, r2, lsl #1", f"rsb r3, {b}, r3, lsl #1", "add r12, r2", "add lr, r3"]
        lines += [f"strd r12, lr, [sp, #{_SLOTS[right] + at}]", f"ldrd r12, lr, [sp, #{_SLOTS[left] + at}]"]
        lines += [f"add {a}, r12", f"add {b}, lr"]
    return lines


def _codes(out: Output, variant: Variant, steps: Steps, row: int, column: int) -> Lines:
    """Requantize and store one output of each tile."""
    four = ("r0", "r3", "r12", "lr")
    lines = [REQUANTIZE, f"str r0, [sp, #{_PATCH}]", f"ldr r2, [sp, #{_CONSTANTS}]", f"ldm r2, {{{', '.join(four)}}}"]
    for acc in PIXELS:
        lines += codes(acc, four, variant, out)
    lines += [f"ldr r2, [sp, #{_OUT}]", f"ldr r0, [sp, #{_PATCH}]"]
    at = row * steps.row + column * steps.column
    return [*lines, f"str r4, [r2, #{at}]", f"str r8, [r2, #{at + 2 * steps.column}]"]


def _place(patch: Patch) -> Lines:
    """Sums of the products of one place: ``1`` goes on with the accumulators, ``2`` begins."""
    turn = max(n for n in range(1, MOST + 1) if patch.pairs % n == 0)
    turns = patch.pairs // turn
    enter = [f"str lr, [sp, #{_RETURN}]"]
    if turns > 1:
        enter += [f"add lr, r0, #{patch.place_bytes}", f"str lr, [sp, #{_END}]"]
    lines = ["2:", *enter, *_step("smuad"), "b 4f", "1:", *enter, *(["3:"] if turns > 1 else []), *_step("smlad"), "4:"]
    lines += [f".rept {turn - 1}", *_step("smlad"), ".endr"] if turn > 1 else []
    if turns > 1:
        lines += [f"ldr r2, [sp, #{_END}]", "cmp r0, r2", "bne 3b"]
    return [*lines, f"ldr pc, [sp, #{_RETURN}]"]


def _step(op: str) -> Lines:
    """Two channels of both tiles by four output channels."""
    lines = ["ldrd r2, r3, [r0], #8"]
    for lanes in ((0, 1), (2, 3)):
        lines += ["ldrd r12, lr, [r1], #8"]
        for lane, weights in zip(lanes, ("r12", "lr"), strict=True):
            for acc, x in zip(PIXELS, ("r2", "r3"), strict=True):
                tail = f", {acc[lane]}" if op == "smlad" else ""
                lines += [f"{op} {acc[lane]}, {weights}, {x}{tail}"]
    return lines


def filters(patch: Patch, found: Filters) -> Lines:
    """The micro-kernel ``(transformed, weights)``: those of four output channels."""
    step = 8 * patch.filter_bytes
    span = 32 * found.digits
    lines = ["push {r4-r11, lr}", f"sub sp, #{_FILTERS_FRAME}", f"movw r2, #{step}", "add r2, r0"]
    lines += [f"mov r3, #{found.groups}", "1:", f"str r3, [sp, #{_GROUPS}]"]
    lines += ["mov r3, #4", "2:", f"str r3, [sp, #{_LANES}]"]
    if found.digits > 1:
        lines += ["mov r3, #0", "3:", f"str r3, [sp, #{_DIGITS}]", *_digit(found.bits)]
    source = "sp" if found.digits > 1 else "r1"
    for half in range(2):
        lines += _filter(patch, source, half)
    lines += ["add r0, #32", "add r2, #32"]
    if found.digits > 1:
        lines += [f"ldr r3, [sp, #{_DIGITS}]", f"add r3, #{found.bits}", "cmp r3, #8", "bne 3b"]
    lines += ["add r1, #36", f"sub r0, #{span - 4}", f"sub r2, #{span - 4}"]
    lines += [f"ldr r3, [sp, #{_LANES}]", "subs r3, #1", "bne 2b", f"add r0, #{span - 16}", f"add r2, #{span - 16}"]
    lines += [f"ldr r3, [sp, #{_GROUPS}]", "subs r3, #1", "bne 1b"]
    return [*lines, f"add sp, #{_FILTERS_FRAME}", "pop {r4-r11, pc}"]


def _digit(bits: int) -> Lines:
    """The weights of one four of channels to the upper end of bytes on the stack; r3 has their place from below."""
    mask = (0xFF << (8 - bits) & 0xFF) * 0x01010101
    lines = [f"rsb r3, r3, #{8 - bits}", f"mov r12, #0x{mask:08x}"]
    for first in (0, 4, 8):
        registers = [f"r{4 + i}" for i in range(min(4, 9 - first))]
        for i, register in enumerate(registers):
            lines += [f"ldr {register}, [r1, #{4 * (first + i)}]", f"lsl {register}, {register}, r3"]
            lines += [f"and {register}, {register}, r12", f"str {register}, [sp, #{4 * (first + i)}]"]
    return lines


def _filter(patch: Patch, source: str, half: int) -> Lines:
    """``(2 G) g (2 G)^T`` of two input channels and one output channel."""
    a, b, c = ("r4", "r5", "r6"), ("r7", "r8", "r9"), ("r10", "r11", "r12")
    turn = ", ror #8" if half else ""

    def load(registers: tuple[str, ...], row: int) -> Lines:
        lines = [f"ldr {register}, [{source}, #{12 * row + 4 * i}]" for i, register in enumerate(registers)]
        return lines + [f"sxtb16 {register}, {register}{turn}" for register in registers]

    def row(registers: tuple[str, ...], which: int) -> Lines:
        first = 4 * ORDER.index(which)
        base = "r2" if first >= 8 else "r0"
        x, y, z = registers
        at = {v: (first % 8 + ORDER.index(v)) * patch.filter_bytes + 16 * half for v in range(4)}
        return [
            *(f"sadd16 r3, {x}, {z}", f"sadd16 lr, r3, {y}", f"str lr, [{base}, #{at[1]}]", f"ssub16 r3, r3, {y}"),
            *(f"str r3, [{base}, #{at[2]}]", f"sadd16 lr, {x}, {x}", f"str lr, [{base}, #{at[0]}]"),
            *(f"sadd16 lr, {z}, {z}", f"str lr, [{base}, #{at[3]}]"),
        ]

    def each(op: str, to: tuple[str, ...], x: tuple[str, ...], y: tuple[str, ...]) -> Lines:
        return [f"{op} {t}, {i}, {j}" for t, i, j in zip(to, x, y, strict=True)]

    lines = [*load(a, 0), *each("sadd16", c, a, a), *row(c, 0), *load(b, 2), *each("sadd16", c, b, b), *row(c, 3)]
    lines += [*each("sadd16", a, a, b), *load(b, 1), *each("sadd16", c, a, b), *row(c, 1)]
    return [*lines, *each("ssub16", c, a, b), *row(c, 2)]
