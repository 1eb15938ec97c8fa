# SPDX-License-Identifier: Apache-2.0
"""The micro-kernel that makes words of 16-bit halves from a segment of the input, as Thumb-2 text.

Called as ``(patch, in0[, in1][, sums][, turns])``, returns the end of what it wrote; `codegen/dsp/columns.py` has the
order. Words of two pixels alternate. Signed codes are counted from the least one: their top bits are flipped.
"""

from __future__ import annotations

from plinio_deploy.codegen.dsp.columns import Columns

MOST = 8
"""Words of the input per turn."""

_MASKS = {4: "0x000f000f", 2: "0x00030003"}


def counted(layout: Columns) -> int | None:
    """Turns of a micro-kernel that segments of any number of whole turns share, or `None`: they are no argument."""
    turns, left = divmod(layout.segment_bytes, 4 * MOST)
    return turns if turns and not left else None


def widen(layout: Columns, pixels: int, *, signed: bool, sums: bool) -> list[str]:
    """The micro-kernel.

    Args:
        layout: of the patch.
        pixels: one or two.
        signed: whether codes are two's complement.
        sums: whether the codes of each pixel are added to a word of ``sums``.
    """
    writer = _Writer(layout.bits, pixels, signed, sums)
    whole, body = layout.whole_words, writer.word()
    if counted(layout) is not None:
        lines = [*writer.prologue(turns=True), "1:", *_repeat(MOST, body), "subs lr, #1", "bne 1b"]
        return lines + writer.epilogue()
    lines = writer.prologue()
    turn = max((n for n in range(1, MOST + 1) if whole % n == 0), default=1)
    if whole <= MOST:
        turn = max(whole, 1)
    elif turn < MOST // 2:
        turn = MOST
    turns, left = divmod(whole, turn)
    if turns > 1:
        lines += [f"movw lr, #{turns}", "1:"]
    lines += _repeat(turn if whole else 0, body)
    if turns > 1:
        lines += ["subs lr, #1", "bne 1b"]
    lines += _repeat(left, body)
    lines += writer.rest(layout.rest)
    return lines + writer.epilogue()


def _repeat(times: int, body: list[str]) -> list[str]:
    if times == 0:
        return []
    return body if times == 1 else [f".rept {times}", *body, ".endr"]


class _Writer:
    """Registers: r0 patch, r1, r2 input, r3 sums, then mask; r4, r5 words; r6 to r9 halves; r10, r11 sums; lr turns."""

    def __init__(self, bits: int, pixels: int, signed: bool, sums: bool) -> None:
        self.bits, self.pixels, self.signed, self.sums = bits, pixels, signed, sums
        self.words = ("r4", "r5")[:pixels]
        self.totals = ("r10", "r11")[:pixels]

    def prologue(self, *, turns: bool = False) -> list[str]:
        lines = ["push {r4-r11, lr}"]
        if turns:
            position = 1 + self.pixels + self.sums
            lines += [f"mov lr, r{position}" if position < 4 else "ldr lr, [sp, #36]"]
        if self.sums:
            place = "r3" if self.pixels == 2 else "r2"
            lines += [f"push {{{place}}}"]
            lines += [f"ldr {total}, [{place}, #{4 * i}]" for i, total in enumerate(self.totals)]
            lines += ["mov r12, #0x00010001" if self.bits < 8 else "mov r12, #0"]
        return [*lines, f"mov r3, #{_MASKS[self.bits]}"] if self.bits < 8 else lines

    def epilogue(self) -> list[str]:
        lines: list[str] = []
        if self.sums:
            lines += ["pop {r3}", *(f"str {total}, [r3, #{4 * i}]" for i, total in enumerate(self.totals))]
        return [*lines, "pop {r4-r11, pc}"]

    def word(self) -> list[str]:
        """Four bytes of each pixel: load, flip, spread."""
        lines = [f"ldr {w}, [{p}], #4" for w, p in zip(self.words, ("r1", "r2"), strict=False)]
        return lines + self.spread(4)

    def spread(self, nbytes: int) -> list[str]:
        """Words of halves from the loaded bytes."""
        lines = self.flip(nbytes)
        if self.bits == 8 and self.sums:
            lines += [f"usada8 {total}, {w}, r12, {total}" for total, w in zip(self.totals, self.words, strict=True)]
        halves = min(nbytes, 2) * 8 // self.bits
        group = 4 // self.pixels
        for first in range(0, halves, group):
            made = range(first, min(first + group, halves))
            targets = [f"r{6 + i}" for i in range(len(made) * self.pixels)]
            names = iter(targets)
            for half in made:
                for pixel, w in enumerate(self.words):
                    lines += self.extract(next(names), w, half, pixel)
            lines += [f"stm r0!, {{{', '.join(targets)}}}"] if len(targets) > 1 else [f"str {targets[0]}, [r0], #4"]
        return lines

    def flip(self, nbytes: int) -> list[str]:
        """Make signed codes unsigned: flip the top bit of each."""
        if not self.signed:
            return []
        value = sum(1 << (self.bits * (i + 1) - 1) for i in range(8 * nbytes // self.bits))
        if nbytes == 4:
            return [f"eor {w}, {w}, #0x{value:08x}" for w in self.words]
        lines = [f"movw r9, #0x{value & 0xFFFF:x}", *([f"movt r9, #0x{value >> 16:x}"] if value >> 16 else [])]
        return [*lines, *(f"eor {w}, {w}, r9" for w in self.words)]

    def extract(self, target: str, word: str, half: int, pixel: int) -> list[str]:
        """One word of halves; its codes are added to the pixel's sum where bytes have not been."""
        shift = half * self.bits
        if self.bits == 8:
            return [f"uxtb16 {target}, {word}" + (f", ror #{shift}" if shift else "")]
        lines = [f"and {target}, r3, {word}" + (f", lsr #{shift}" if shift else "")]
        if self.sums:
            lines += [f"smlad {self.totals[pixel]}, {target}, r12, {self.totals[pixel]}"]
        return lines

    def rest(self, nbytes: int) -> list[str]:
        """The last one to three bytes of a segment."""
        if not nbytes:
            return []
        lines: list[str] = []
        for w, p in zip(self.words, ("r1", "r2"), strict=False):
            lines += [f"{'ldrb' if nbytes == 1 else 'ldrh'} {w}, [{p}]"]
            if nbytes == 3:
                lines += [f"ldrb r9, [{p}, #2]", f"orr {w}, {w}, r9, lsl #16"]
        return [*lines, *self.spread(nbytes)]
