# SPDX-License-Identifier: Apache-2.0
"""The micro-kernels as Thumb-2 text, one instruction per line.

Registers of the products of two pixels by four channels::

    r0        next words of the patch: pixel 0, pixel 1
    r1        next packed weights
    r2, r3    two halves of pixel 0, of pixel 1
    r4 - r7   accumulators of pixel 0, channels 0 to 3
    r8 - r11  accumulators of pixel 1
    r12, lr   packed weights

That is all there are; what else is needed lies on the stack. Of one pixel by four channels::

    r0, r1    as above; words of the patch are not interleaved
    r2, r3, r8, r9          four words of the patch
    r4 - r7   accumulators
    r10, r11, r12, lr       packed weights

One pixel whose 8-bit codes are read as they are (`Direct`) needs no patch: they are widened on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from plinio_deploy.codegen.dsp import chain, narrow
from plinio_deploy.codegen.dsp.blocks import CHANNELS, DIGIT8, RAW8, WIDE4, WIDE8, Run, Variant
from plinio_deploy.codegen.dsp.columns import Columns

Lines = list[str]

Products = Callable[[int, str], Lines]
"""The products of a channel with the weights in a register."""

REQUANTIZE, PRODUCTS = "@ phase requantize", "@ phase products"
"""Comments to the assembler; ``parts/phases.j2`` makes labels of them, by which measurements tell phases apart."""

PIXELS = (("r4", "r5", "r6", "r7"), ("r8", "r9", "r10", "r11"))
"""Accumulators of each pixel."""

_CLEAR = ("#0x00c000c0", "#0x00300030", "#0x000c000c")
"""What removes the uppermost channel of `raw2` from a word of halves, from the top down."""

_LOWER = {RAW8.name: "sxtb16", DIGIT8.name: "uxtb16"}
"""What leaves the lower one of two channels of 8 bits."""


@dataclass(frozen=True)
class Output:
    """Where codes go and what they are.

    Attributes:
        bits: of a code.
        signed: whether codes are two's complement.
        offset: what makes the unsigned code of a product: zero point less the least code.
        low, high: clamp, counted from the least code.
        saturate: whether products can leave 16 bits.
        shift: of sums to the left, before their bias is added.
    """

    bits: int
    signed: bool
    offset: int
    low: int
    high: int
    saturate: bool
    shift: int


# Stack of the micro-kernels: start of the patch, its end, constants, output, end of the weights of whole blocks, bytes
# from an output pixel to the next; what the patch's sum takes from each accumulator, four words per pixel, and the sum.
_PATCH, _END, _CONSTANTS, _OUT, _LAST, _STRIDE, _SUMS = 0, 4, 8, 12, 16, 20, 24


@dataclass(frozen=True)
class Direct:
    """Codes of one pixel are read where they lie: bytes, as many as the patch has halves.

    Attributes:
        signed: whether they are two's complement.
    """

    signed: bool


def frame_bytes(run: Run, pixels: int) -> int:
    """Stack of a micro-kernel besides saved registers."""
    return _common(run.variant, pixels) + 4 * narrow.words(run)


def _common(variant: Variant, pixels: int) -> int:
    """Place on the stack of what all channels of a narrow run have in common."""
    return _SUMS + (16 * pixels + 4 if variant.sums else 0)


def products(pixels: int, layout: Columns, run: Run, out: Output, direct: Direct | None = None) -> Lines:
    """A whole micro-kernel: one or two pixels by all channels of a run.

    Called as ``(patch, out, weights, constants)``; behind the patch lies the sum of each pixel's codes. With ``direct``
    the patch is one of bytes, and sums are taken here. How many blocks there are is no part of it, only whether there
    are whole ones, and how many channels the last one has if they are fewer.
    """
    frame = frame_bytes(run, pixels)
    lines = ["push {r4-r11, lr}", f"sub sp, #{frame}", f"str r0, [sp, #{_PATCH}]", f"str r1, [sp, #{_OUT}]"]
    lines += ["mov r1, r2", "ldr r2, [r3], #4", "add r2, r0", f"str r2, [sp, #{_END}]"]
    lines += ["ldr r2, [r3], #4", f"str r2, [sp, #{_STRIDE}]"]
    lines += ["ldr r2, [r3], #4", "add r2, r1", f"str r2, [sp, #{_LAST}]"]
    lines += narrow.prologue(run, _common(run.variant, pixels)) if run.narrow else [f"str r3, [sp, #{_CONSTANTS}]"]
    if run.variant.sums:
        lines += _sum(direct) if direct is not None else []
        lines += _sums_of(run.variant, pixels, direct)
    lines += [f"ldr lr, [sp, #{_END}]"] if narrow.holds_end(run) else []
    if run.whole:
        lines += [*narrow.aligned(run), "1:", *_block(pixels, layout, run, out, CHANNELS, 2, direct)]
        lines += [f"ldr r0, [sp, #{_LAST}]", "cmp r1, r0", "bne 1b"]
    if run.rest:
        lines += [*narrow.aligned(run), *_block(pixels, layout, run, out, run.rest, 3, direct)]
    return [*lines, f"add sp, #{frame}", "pop {r4-r11, pc}"]


def _factors(variant: Variant) -> Sequence[int]:
    """How often the patch's sum is contained in each accumulator: less than 2^16 times."""
    if variant.chain:
        return chain.factors(variant)
    found: list[int] = []
    for offset, scale, below in zip(variant.offsets, variant.scales, variant.below, strict=True):
        found.append((offset << scale) + (found[below] if below is not None else 0))
    return found


def _flipped(direct: Direct, register: str) -> Lines:
    return [f"eor {register}, {register}, #0x80808080"] if direct.signed else []


def _sum(direct: Direct) -> Lines:
    """The sum of a patch of bytes, kept where the last multiple of it will lie."""
    lines = ["mov r3, #0", "mov r12, #0", f"ldr lr, [sp, #{_END}]", "9:", "ldr r2, [r0], #4"]
    lines += [*_flipped(direct, "r2"), "usada8 r3, r2, r12, r3", "cmp r0, lr", "bne 9b"]
    return [*lines, f"str r3, [sp, #{_SUMS + 16}]"]


def _sums_of(variant: Variant, pixels: int, direct: Direct | None) -> Lines:
    """Store what the sums of the patch add to each accumulator."""
    lines = [f"ldr r0, [sp, #{_END}]"] if direct is None else []
    for pixel in range(pixels):
        lines += [f"ldr r2, [r0, #{4 * pixel}]" if direct is None else f"ldr r2, [sp, #{_SUMS + 16}]"]
        for lane, factor in enumerate(_factors(variant)):
            lines += [f"movw r3, #{factor}", "mul r3, r3, r2", f"str r3, [sp, #{_SUMS + 16 * pixel + 4 * lane}]"]
    return lines


def _block(
    pixels: int,
    layout: Columns,
    run: Run,
    out: Output,
    channels: int,
    label: int,
    direct: Direct | None,
) -> Lines:
    """One block: accumulators start, products, requantization, stores."""
    variant, common = run.variant, _common(run.variant, pixels) if run.narrow else None
    lines = [PRODUCTS, f"ldr r0, [sp, #{_PATCH}]"]
    if common is not None:
        lines += narrow.start(PIXELS[0], run, common)
    else:
        lines += [f"ldr r2, [sp, #{_CONSTANTS}]"]
        lines += ["ldm r2, {r8-r11}"] if pixels == 2 and not variant.sums else []
        lines += ["ldm r2!, {r4-r7}", f"str r2, [sp, #{_CONSTANTS}]"]
    lines += _start(pixels, variant)
    lines += [f"{label}:"] if layout.loops else []
    turn = _turn_of_two(variant) if pixels == 2 else _turn_of_one(variant, direct)
    lines += [f".rept {layout.unroll // (2 if pixels == 2 else 4)}", *turn, ".endr"]
    if layout.loops:
        lines += ["cmp r0, lr"] if narrow.holds_end(run) else [f"ldr r2, [sp, #{_END}]", "cmp r0, r2"]
        lines += [f"bne {label}b"]
    lines += requantize(pixels, variant, out, _CONSTANTS, common)
    return lines + store(pixels, out, channels, _OUT, _STRIDE)


def requantize(pixels: int, variant: Variant, out: Output, constants: int, common: int | None = None) -> Lines:
    """From accumulators to the four codes of each pixel in its first register.

    Args:
        pixels: one or two.
        variant: what the accumulators hold.
        out: what codes are.
        constants: place on the stack of the pointer to multipliers (with a shift, to biases and multipliers).
        common: that of the only multiplier, of a narrow run.
    """
    four: tuple[str, ...] = ("r0", "r3", "r12", "lr")
    load = f"ldm r2!, {{{', '.join(four)}}}"
    lines: Lines = [REQUANTIZE]
    for acc in PIXELS[:pixels]:
        lines += chain.separate(acc, variant) if variant.chain else []
        nested = [(lane, below) for lane, below in enumerate(variant.below) if below is not None]
        lines += [f"sub {acc[lane]}, {acc[lane]}, {acc[below]}" for lane, below in reversed(nested)]
    if common is not None:
        fetch, four = narrow.multipliers(common)
        return lines + fetch + [line for acc in PIXELS[:pixels] for line in codes(acc, four, variant, out)]
    lines += [f"ldr r2, [sp, #{constants}]"]
    if out.shift:
        lines += [load]
        for acc in PIXELS[:pixels]:
            places = zip(acc, four, variant.scales, strict=True)
            lines += [f"add {a}, {bias}, {a}{_shifted(out.shift - scale)}" for a, bias, scale in places]
    lines += [load, f"str r2, [sp, #{constants}]"]
    for acc in PIXELS[:pixels]:
        lines += codes(acc, four, replace(variant, scales=(0, 0, 0, 0)) if out.shift else variant, out)
    return lines


def _shifted(left: int) -> str:
    """A shift of an operand: what scales a sum up may be more than what its bias waits for."""
    return f", {'lsl' if left > 0 else 'asr'} #{abs(left)}" if left else ""


def _start(pixels: int, variant: Variant) -> Lines:
    lines: Lines = []
    if not variant.sums:
        return lines
    if variant.chain:
        return chain.start(PIXELS[:pixels], variant, _SUMS)
    first = PIXELS[0]
    for pixel in reversed(range(pixels)):
        lines += [f"add lr, sp, #{_SUMS + 16 * pixel}", "ldm lr, {r2, r3, r12, lr}"]
        taken = zip(PIXELS[pixel], first, ("r2", "r3", "r12", "lr"), strict=True)
        lines += [f"sub {to}, {start}, {part}" for to, start, part in taken]
    return lines


def _both(lane: int, weights: str) -> Lines:
    """Products of a channel for both pixels."""
    return [f"smlad {acc[lane]}, {weights}, {x}, {acc[lane]}" for acc, x in zip(PIXELS, ("r2", "r3"), strict=True)]


def _turn_of_two(variant: Variant) -> Lines:
    """Two words of the patch of two pixels."""
    if variant.chain:
        return chain.turn_of_two(PIXELS, variant)
    load = "ldrd r2, r3, [r0], #8"
    if variant in (RAW8, DIGIT8):
        word = [load, "ldrd r12, lr, [r1], #8", *_both(1, "r12"), *_both(3, "lr")]
        word += [f"{_LOWER[variant.name]} {weights}, {weights}" for weights in ("r12", "lr")]
        word += [*_both(0, "r12"), *_both(2, "lr")]
        return word * 2
    if variant is WIDE8:
        lines = [load]
        for lane in (0, 2):
            lines += ["ldr r12, [r1], #4", "sxtb16 lr, r12", "sxtb16 r12, r12, ror #8"]
            lines += [*_both(lane, "lr"), *_both(lane + 1, "r12")]
        return lines * 2
    if variant is WIDE4:
        return (["ldr r12, [r1], #4", load, *_masked(_both)]) * 2
    lines = ["ldr r12, [r1], #4", load, "uxtb16 lr, r12", *_peeled("lr", _both)]
    return [*lines, load, "uxtb16 r12, r12, ror #8", *_peeled("r12", _both)]


def _peeled(weights: str, products_of: Products) -> Lines:
    """Products of channel 3 with the word as it is, then of each channel below after the one above is cleared."""
    lines = products_of(3, weights)
    for lane, bits in zip((2, 1, 0), _CLEAR, strict=True):
        lines += [f"bic {weights}, {weights}, {bits}", *products_of(lane, weights)]
    return lines


def _masked(products_of: Products) -> Lines:
    """Products of each channel of r12 on its own, by way of lr."""
    lines: Lines = []
    for lane, mask in enumerate(("#0x000f000f", "#0x00f000f0", "#0x0f000f00")):
        lines += [f"and lr, r12, {mask}", *products_of(lane, "lr")]
    return [*lines, "lsr r12, r12, #12", "and r12, r12, #0x000f000f", *products_of(3, "r12")]


def _turn_of_one(variant: Variant, direct: Direct | None) -> Lines:
    """Four words of the patch of one pixel."""
    acc, xs, ws = PIXELS[0], ("r2", "r3", "r8", "r9"), ("r10", "r11", "r12", "lr")
    lines = [f"ldm r0!, {{{', '.join(xs)}}}"]
    if direct is not None:
        lines = ["ldr r2, [r0], #4", "ldr r8, [r0], #4", *_flipped(direct, "r2"), *_flipped(direct, "r8")]
        lines += ["uxtb16 r3, r2, ror #8", "uxtb16 r2, r2", "uxtb16 r9, r8, ror #8", "uxtb16 r8, r8"]

    if variant.chain:
        return lines + chain.turn_of_one(acc, variant, xs)

    def one(x: str) -> Products:
        return lambda lane, weights: [f"smlad {acc[lane]}, {weights}, {x}, {acc[lane]}"]

    if variant in (RAW8, DIGIT8):
        for pair in (xs[:2], xs[2:]):
            lines += [f"ldm r1!, {{{', '.join(ws)}}}"]
            for x, word in zip(pair, (ws[:2], ws[2:]), strict=True):
                lines += _bytes_of_one(variant, x, word)
    elif variant is WIDE8:
        for x in xs:
            lines += _separate_bytes_of_one(x)
    elif variant is WIDE4:
        for x in xs:
            lines += ["ldr r12, [r1], #4", *_masked(one(x))]
    else:
        lines += ["ldrd r10, r11, [r1], #8"]
        for first, second, weights in ((xs[0], xs[1], "r10"), (xs[2], xs[3], "r11")):
            lines += [f"uxtb16 r12, {weights}", *_peeled("r12", one(first))]
            lines += [f"uxtb16 r12, {weights}, ror #8", *_peeled("r12", one(second))]
    return lines


def _bytes_of_one(variant: Variant, x: str, word: Sequence[str]) -> Lines:
    """Products of one word of the patch with 8-bit weights, packed as they are."""
    acc = PIXELS[0]
    lines: Lines = []
    for lane, weights in zip((0, 2), word, strict=True):
        lines += [f"smlad {acc[lane + 1]}, {weights}, {x}, {acc[lane + 1]}"]
        lines += [f"{_LOWER[variant.name]} {weights}, {weights}", f"smlad {acc[lane]}, {weights}, {x}, {acc[lane]}"]
    return lines


def _separate_bytes_of_one(x: str) -> Lines:
    """The same with each channel on its own."""
    acc = PIXELS[0]
    lines = ["ldrd r10, r11, [r1], #8"]
    for lane, weights in ((0, "r10"), (2, "r11")):
        lines += [f"sxtb16 r12, {weights}", f"smlad {acc[lane]}, r12, {x}, {acc[lane]}"]
        lines += [f"sxtb16 r12, {weights}, ror #8", f"smlad {acc[lane + 1]}, r12, {x}, {acc[lane + 1]}"]
    return lines


def codes(acc: Sequence[str], multipliers: Sequence[str], variant: Variant, out: Output) -> Lines:
    """From sums to four codes in the first register; the others and r2 are free afterwards."""
    lines = [f"smmul {a}, {a}, {m}" for a, m in zip(acc, multipliers, strict=True)]
    if out.saturate:
        lines += [f"ssat {a}, #{16 + scale}, {a}" for a, scale in zip(acc, variant.scales, strict=True)]
    even, odd, third, fourth = acc
    scales = variant.scales
    if scales[0]:
        lines += [f"lsl {third}, {third}, #{16 - scales[2]}", f"pkhtb {even}, {third}, {even}, asr #{scales[0]}"]
    else:
        lines += [f"pkhbt {even}, {even}, {third}, lsl #{16 - scales[2]}"]
    if scales[1]:
        lines += [f"lsl {fourth}, {fourth}, #{16 - scales[3]}", f"pkhtb {odd}, {fourth}, {odd}, asr #{scales[1]}"]
    else:
        lines += [f"pkhbt {odd}, {odd}, {fourth}, lsl #{16 - scales[3]}"]
    pairs = (even, odd)
    if out.offset:
        lines += [f"mov r2, #{_pair(out.offset)}", *(f"qadd16 {r}, {r}, r2" for r in pairs)]
    lines += [f"usat16 {r}, #{out.bits}, {r}" for r in pairs]
    if out.bits == 8:
        lines += [f"orr {even}, {even}, {odd}, lsl #8", *_clamp((even,), out, 0x01010101)]
        return [*lines, f"eor {even}, {even}, #0x80808080"] if out.signed else lines
    lines += [*_clamp(pairs, out, 0x00010001), f"orr {even}, {even}, {odd}, lsl #{out.bits}"]
    if out.signed:
        top = 1 << (out.bits - 1)
        lines += [f"eor {even}, {even}, #{_pair(top | top << out.bits)}"]
    return [*lines, f"orr {even}, {even}, {even}, lsr #{16 - 2 * out.bits}"]


def _pair(value: int) -> str:
    return f"0x{value | value << 16:08x}"


def _clamp(registers: Sequence[str], out: Output, ones: int) -> Lines:
    """Bounds other than those of the bit width, on unsigned bytes."""
    lines: Lines = []
    if out.low > 0:
        lines += [f"mov r2, #0x{out.low * ones:08x}"]
        lines += [f"{op} {r}, {r}, r2" for r in registers for op in ("uqsub8", "uadd8")]
    if out.high < (1 << out.bits) - 1:
        lines += [f"mov r2, #0x{(255 - out.high) * ones:08x}"]
        lines += [f"{op} {r}, {r}, r2" for r in registers for op in ("uqadd8", "usub8")]
    return lines


def store(pixels: int, out: Output, channels: int, place: int, stride: int) -> Lines:
    """The codes of a block; the pointer at ``place`` on the stack moves on, pixel 1 lies the word at ``stride`` on."""
    lines = [f"ldr r2, [sp, #{place}]"]
    nbytes = channels * out.bits // 8 if out.bits == 8 else (channels * out.bits + 7) // 8
    if channels * out.bits % 8:
        lines += [f"ubfx {acc[0]}, {acc[0]}, #0, #{channels * out.bits}" for acc in PIXELS[:pixels]]
    if pixels == 2:
        lines += [f"ldr r0, [sp, #{stride}]", "add r0, r2", *_bytes(PIXELS[1][0], nbytes, "r0")]
    lines += _bytes(PIXELS[0][0], nbytes, "r2")
    return [*lines, f"adds r2, #{nbytes}", f"str r2, [sp, #{place}]"]


def _bytes(register: str, nbytes: int, base: str) -> Lines:
    match nbytes:
        case 4:
            return [f"str {register}, [{base}]"]
        case 3:
            return [f"strh {register}, [{base}]", f"lsr {register}, {register}, #16", f"strb {register}, [{base}, #2]"]
        case 2:
            return [f"strh {register}, [{base}]"]
        case _:
            return [f"strb {register}, [{base}]"]
