# SPDX-License-Identifier: Apache-2.0
"""The micro-kernels of Winograd's method as Thumb-2 text; `codegen/dsp/winograd.py` has the mathematics.

``tile`` transforms a patch: columns of the input first, through a buffer on the stack, then rows. Registers: r0 the
transformed patch, r1, r2, r3, r12 the four rows; r4 to r11 and lr what is computed.

``products`` computes 2 x 4 outputs of four channels. Registers: r0 the transformed patch, r1 weights; r2, r3 words of
the two tiles; r12, lr weights; r4 to r7 accumulators of tile 0, channels 0 to 3, r8 to r11 those of tile 1. Sums of the
16 places are combined on the way: where two are added anyway, one goes on where the other ended, so that combining them
takes 12 additions per tile and channel instead of 24. Words on the stack: see `_SLOTS`.
"""

from __future__ import annotations

from plinio_deploy.codegen.dsp.assembly import PIXELS, PRODUCTS, REQUANTIZE, Lines, Output, codes
from plinio_deploy.codegen.dsp.blocks import Variant
from plinio_deploy.codegen.dsp.winograd import ORDER, Patch, Steps

MOST = 16
"""Most pairs of channels per turn of the inner loop."""

_ACCUMULATORS = (*PIXELS[0], *PIXELS[1])

# Stack of `tile`: rows of columns that are transformed, six words each; end of the first row of the input.
_ROW, _ROWS_END = 24, 96

# Stack of `products`: eight accumulators each; then return address, output, constants, patch, end of a place.
_SLOTS = {"x0": 0, "x1": 32, "y0": 64, "y1": 96, "t": 128}
_RETURN, _OUT, _CONSTANTS, _PATCH, _END, _FRAME = 160, 164, 168, 172, 176, 184


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
