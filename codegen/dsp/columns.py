# SPDX-License-Identifier: Apache-2.0
"""The patch under a convolution's kernel as words of two 16-bit halves, in the order in which unpacking yields them.

A patch is read as segments of bytes that are contiguous in the input: a row of the kernel, or a single tap where taps
are dilated. A segment is read word by word. A word of 8-bit codes gives two words of halves, codes (0, 2) and (1, 3);
one of 4-bit codes gives four, (0, 4) to (3, 7); one of 2-bit codes gives eight.
"""

from __future__ import annotations

from dataclasses import dataclass

from plinio_deploy.network import Conv, Linear, Tensor

UNROLL = (8, 22)
"""Least and greatest number of words per turn of the inner loop."""

SHARED = 16
"""Words of a turn that divide most numbers of channels: a layer that has one such turn counts it like the others."""

TURN_COST = 3 / 12
"""Instructions that a turn of the inner loop takes besides its work, in words of halves."""


@dataclass(frozen=True)
class Columns:
    """How a patch is laid out.

    Attributes:
        segments: per patch.
        segment_bytes: bytes of the input in each.
        taps: of the kernel in each.
        lanes: of a segment's words, in order: for the low and the high half the place in ``(tap of the segment,
            channel)`` order, or -1 where a half holds no code.
        bits: of a code.
        unroll: words per turn of the inner loop; even.
        turns: of the inner loop; ``unroll * turns`` words hold all segments, then zeros.
    """

    segments: int
    segment_bytes: int
    taps: int
    lanes: tuple[tuple[int, int], ...]
    bits: int
    unroll: int
    turns: int

    @property
    def used(self) -> int:
        """Words of a patch that hold codes."""
        return self.segments * len(self.lanes)

    @property
    def words(self) -> int:
        """Words of a patch, zeros at its end included."""
        return self.unroll * self.turns

    @property
    def loops(self) -> bool:
        """Whether turns are counted: micro-kernels of turns as long are then the same, whatever their number."""
        return self.turns > 1 or self.unroll == SHARED

    @property
    def whole_words(self) -> int:
        """Words of the input that are read at once, per segment."""
        return self.segment_bytes // 4

    @property
    def rest(self) -> int:
        """Bytes of the input that remain, per segment."""
        return self.segment_bytes % 4

    def order(self, channels: int) -> list[tuple[int, int]]:
        """Low and high half of every word of a patch as places in ``(tap, channel)`` order; -1: nothing there."""
        size = self.taps * channels
        found = [
            (low + start if low >= 0 else -1, high + start if high >= 0 else -1)
            for start in range(0, self.segments * size, size)
            for low, high in self.lanes
        ]
        return found + [(-1, -1)] * (self.words - self.used)


def columns(op: Conv | Linear, source: Tensor, multiple: int = 2, greatest: int = UNROLL[1]) -> Columns:
    """The layout for a dense convolution, or a matrix product (one segment).

    Args:
        op: the layer.
        source: what it reads.
        multiple: of which the words per turn are; even.
        greatest: number of words per turn.
    """
    taps, segments = 1, 1
    if isinstance(op, Conv):
        height, width = op.kernel
        taps = width if op.dilation[1] == 1 else 1
        segments = height * width // taps
    nbytes = taps * source.row_bytes
    lanes = _lanes(nbytes, source)
    unroll, turns = _turns(segments * len(lanes), multiple, greatest)
    return Columns(segments, nbytes, taps, lanes, source.bits, unroll, turns)


def _lanes(nbytes: int, source: Tensor) -> tuple[tuple[int, int], ...]:
    per_byte = 8 // source.bits
    half = 2 * per_byte

    def place(word: int, lane: int) -> int:
        byte = 4 * word + lane // per_byte
        tap, row = divmod(byte, source.row_bytes)
        channel = row * per_byte + lane % per_byte
        return tap * source.channels + channel if byte < nbytes and channel < source.channels else -1

    return tuple(
        (place(word, lane), place(word, lane + half))
        for word in range((nbytes + 3) // 4)
        for lane in range(half)
        if 4 * word + lane // per_byte < nbytes
    )


def _turns(words: int, multiple: int, greatest: int) -> tuple[int, int]:
    """Words per turn and turns: the least work in all."""
    if words <= greatest:
        return -(-words // multiple) * multiple, 1
    choices = range(UNROLL[0], greatest + 1, multiple)
    return min(
        ((unroll, -(-words // unroll)) for unroll in choices),
        key=lambda choice: (choice[0] * choice[1] + TURN_COST * choice[1], choice[0]),
    )
