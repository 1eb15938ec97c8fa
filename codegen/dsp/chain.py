# SPDX-License-Identifier: Apache-2.0
"""Four channels in three accumulators: fewer products than channels.

An accumulator of 32 bits is wide for the sum ``A`` of one channel of such weights, and too narrow for two. Three
accumulators that overlap hold four channels. See `blocks.Variant`::

    chain4    P = A0 + 2^8 A1     Q = A1 + 2^12 A2    V = 2^12 A3           each modulo 2^32
    chain2    P = A0 + 2^12 A1    Q = A1 + 2^12 A2    V = A3 + 2^12 A0

``Q`` tells the lowest 12 bits of ``A1``. Taken out of ``P`` they leave ``A0`` below and the rest of ``A1`` above, apart
as long as ``A0`` fits 20 bits, in `chain2` 24. With ``A0`` known ``P`` gives ``A1``, then ``Q`` gives ``A2``. No sum on
the way has to fit anything: only the last ones count, and what they can reach is known from the weights.

A half of a weight word is multiplied as it is, so one instruction per accumulator makes an operand: ``AND`` of a mask
and the packed word turned by some bits. What turns from one half into the other is packed in the other half. The first
accumulator of pixel 0 is the mask and that of pixel 1 the operand, until the sums of channel 0 come there.

Weights of 8 bits leave no room for that in a half: ``chain8`` stores its three operands, ``P = A0 + 2^8 A1``,
``Q = A1 + 2^8 A2`` and ``V = A2 + 2^8 A3``, and need not make them. Each tells 8 bits of what the one before lacks.
"""

from __future__ import annotations

from collections.abc import Sequence

from plinio_deploy.codegen.dsp.blocks import CHAIN4, CHAIN8, Variant

_OPERANDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "chain4": (("{w}, #0x0f0f0f0f", "{mask}, {w}, ror #8", "{w}, #0xf000f000"),),
    "chain2": (
        ("{mask}, {w}", "{mask}, {w}, ror #12", "{mask}, {w}, ror #20"),
        ("{mask}, {w}, ror #2", "{mask}, {w}, ror #14", "{mask}, {w}, ror #22"),
    ),
}
"""Per word of a patch that shares a packed word: what AND takes for P, Q and V."""

Pixels = Sequence[Sequence[str]]
"""Four accumulators of each pixel."""


def start(pixels: Pixels, variant: Variant, sums: int) -> list[str]:
    """Starts of pixel 0 less what the sum of each patch adds; those of pixel 1 are made of them.

    Args:
        pixels: accumulators; those of pixel 0 hold the mask and the starts.
        variant: a chain.
        sums: place on the stack of what each sum adds to P, Q, V (of `chain4` to P and Q); 16 bytes per pixel.
    """
    first = pixels[0]
    lines: list[str] = []
    for index, pixel in reversed(list(enumerate(pixels))):
        if variant is CHAIN4:
            lines += [f"ldrd r2, r3, [sp, #{sums + 16 * index}]"]
            lines += [f"mov {pixel[3]}, {first[3]}"] if index else []
            parts: tuple[str, ...] = ("r2", "r3")
        else:
            lines += [f"ldr r2, [sp, #{sums + 16 * index}]"]
            parts = ("r2",) * 3
        lines += [f"sub {to}, {begin}, {part}" for to, begin, part in zip(pixel[1:], first[1:], parts, strict=False)]
    return lines


def factors(variant: Variant) -> tuple[int, ...]:
    """How often the patch's sum is contained in P, Q and V; one number where it is the same."""
    if variant is CHAIN8:
        return (variant.offsets[0],)
    low, above = (variant.offsets[0] * (1 + (1 << variant.scales[1])), variant.offsets[1])
    return (low, above) if variant is CHAIN4 else (low,)


def turn_of_two(pixels: Pixels, variant: Variant) -> list[str]:
    """Two words of the patch of two pixels: r2, r3; weights in r12 and lr."""
    mask, operand = pixels[0][0], pixels[1][0]
    if variant is CHAIN8:
        stored = (mask, operand, "r12")
        lines = [f"ldm r1!, {{{', '.join(stored)}}}", "ldrd r2, r3, [r0], #8"]
        for lane, weights in enumerate(stored, 1):
            for acc, x in zip(pixels, ("r2", "r3"), strict=True):
                lines += [f"smlad {acc[lane]}, {weights}, {x}, {acc[lane]}"]
        return lines * 2
    load = "ldrd r2, r3, [r0], #8"
    both = [("r2", pixels[0]), ("r3", pixels[1])]
    if variant is CHAIN4:
        lines = ["ldrd r12, lr, [r1], #8"]
        return lines + [line for w in ("r12", "lr") for line in [load, *_word(variant, 0, w, mask, operand, both)]]
    lines = ["ldr r12, [r1], #4"]
    return lines + [line for part in (0, 1) for line in [load, *_word(variant, part, "r12", mask, operand, both)]]


def turn_of_one(pixel: Sequence[str], variant: Variant, xs: Sequence[str]) -> list[str]:
    """Four words of the patch of one pixel, in ``xs``; weights in r10 and r11."""
    lines: list[str] = []
    if variant is CHAIN8:
        for x in xs:
            lines += ["ldm r1!, {r10, r11, r12}"]
            stored = zip(pixel[1:], ("r10", "r11", "r12"), strict=True)
            lines += [f"smlad {acc}, {weights}, {x}, {acc}" for acc, weights in stored]
        return lines
    for index, x in enumerate(xs):
        weights = ("r10", "r11")[index % 2 if variant is CHAIN4 else index // 2]
        if index % 2 == 0 and (variant is CHAIN4 or index == 0):
            lines += ["ldrd r10, r11, [r1], #8"]
        part = 0 if variant is CHAIN4 else index % 2
        lines += _word(variant, part, weights, pixel[0], "r12", [(x, pixel)])
    return lines


def _word(
    variant: Variant, part: int, weights: str, mask: str, operand: str, pixels: Sequence[tuple[str, Sequence[str]]]
) -> list[str]:
    """The products of one word of each patch."""
    lines: list[str] = []
    for lane, taken in enumerate(_OPERANDS[variant.name][part]):
        lines += [f"and {operand}, {taken.format(mask=mask, w=weights)}"]
        lines += [f"smlad {acc[lane + 1]}, {operand}, {x}, {acc[lane + 1]}" for x, acc in pixels]
    return lines


def separate(pixel: Sequence[str], variant: Variant) -> list[str]:
    """The sums of the four channels, scaled as the variant says, in the four registers."""
    first, p, q, v = pixel
    up = variant.scales[1]
    if variant is CHAIN8:
        lines = [f"uxtb r2, {v}", f"sub r2, {q}, r2, lsl #8", "uxth r2, r2", f"sub r2, {p}, r2, lsl #8"]
        lines += [f"sbfx {first}, r2, #0, #24", f"sub {p}, {p}, {first}", f"sub {q}, {q}, {p}, asr #8"]
        return [*lines, f"sub {v}, {v}, {q}, asr #8"]
    lines = [f"ubfx r2, {q}, #0, #12", f"sub r2, {p}, r2, lsl #{up}", f"sbfx {first}, r2, #0, #{up + 12}"]
    lines += [f"sub {p}, {p}, {first}", f"sub {q}, {q}, {p}, asr #{up}"]
    return lines if variant is CHAIN4 else [*lines, f"sub {v}, {v}, {first}, lsl #12"]
