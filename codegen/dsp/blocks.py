# SPDX-License-Identifier: Apache-2.0
"""Four output channels at a time: how their weights are packed, where their accumulators start, what scales them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from plinio_deploy.codegen.dsp.columns import Columns
from plinio_deploy.codegen.pack import Array, unit_of
from plinio_deploy.fixedpoint import wrap_int32
from plinio_deploy.network import Conv, Hi32, Linear, Tensor, runs_of
from plinio_deploy.packing import by_groups

CHANNELS = 4
"""Output channels of a block."""

IntArray = npt.NDArray[np.int64]

Row = tuple[int, int, int, int]
"""The weights of four channels for one code."""


@dataclass(frozen=True)
class Variant:
    """One way to pack the weights of four channels and to undo it.

    Attributes:
        name: in comments.
        bits: of a weight.
        scales: bits by which each channel's accumulator is scaled up.
        nested: whether each accumulator holds the one before it as well, so that it is subtracted at the end: for 8-bit
            weights within the pairs (0, 1) and (2, 3), else throughout.
        offsets: what is added to each channel's weights to make unsigned digits of them; 0: packed as they are.
        words: of packed weights per two words of a patch.
        chain: whether three accumulators hold the four channels, see `codegen/dsp/chain.py`.
    """

    name: str
    bits: int
    scales: tuple[int, int, int, int]
    nested: bool
    offsets: tuple[int, int, int, int]
    words: int
    chain: bool = False

    @property
    def sums(self) -> bool:
        """Whether the sum of the patch is needed."""
        return any(self.offsets)

    @property
    def below(self) -> tuple[int | None, ...]:
        """Per channel, the one whose accumulator is subtracted."""
        if not self.nested:
            return (None, None, None, None)
        return (None, 0, None, 2) if self.bits == 8 else (None, 0, 1, 2)

    @property
    def room(self) -> tuple[int, ...]:
        """Per channel, the bits that an accumulator has for its sum."""
        first = self.scales[1] + (16 if self.bits == 8 else 12) if self.chain else 32
        return (first, *(32 - scale for scale in self.scales[1:]))


RAW8 = Variant("raw8", 8, (0, 8, 0, 8), nested=True, offsets=(0, 0, 0, 0), words=4)
DIGIT8 = Variant("digit8", 8, (0, 8, 0, 8), nested=True, offsets=(128, 0, 128, 0), words=4)
WIDE8 = Variant("wide8", 8, (0, 0, 0, 0), nested=False, offsets=(0, 0, 0, 0), words=4)
WIDE4 = Variant("wide4", 4, (0, 4, 8, 0), nested=False, offsets=(8, 8, 8, 8), words=2)
RAW2 = Variant("raw2", 2, (0, 2, 4, 6), nested=True, offsets=(2, 2, 2, 2), words=1)
CHAIN4 = Variant("chain4", 4, (0, 8, 12, 12), nested=False, offsets=(8, 8, 0, 0), words=2, chain=True)
CHAIN2 = Variant("chain2", 2, (0, 12, 12, 0), nested=False, offsets=(2, 2, 2, 2), words=1, chain=True)
CHAIN8 = Variant("chain8", 8, (0, 8, 8, 8), nested=False, offsets=(128, 128, 128, 0), words=6, chain=True)
"""Half as much flash again, and a third fewer instructions: only where it is asked for."""

VARIANTS: Mapping[int, tuple[Variant, ...]] = {8: (RAW8, DIGIT8, WIDE8), 4: (CHAIN4, WIDE4), 2: (CHAIN2, RAW2)}
"""By bit width, the fastest first; each channel's sums have to fit what its scale leaves of 32 bits.

``raw8`` cannot pack -128 above a negative weight, ``digit8`` can. ``wide8``, ``wide4`` and ``raw2`` are for greater
sums."""


@dataclass(frozen=True)
class Run:
    """Neighbouring blocks of one width.

    Attributes:
        variant: how they are packed.
        first: channel of the first block.
        channels: in all; the last block may have fewer than four.
        narrow: whether its constants are stored as `codegen/dsp/narrow.py` has them.
    """

    variant: Variant
    first: int
    channels: int
    narrow: bool = False

    @property
    def blocks(self) -> int:
        """Blocks, the last one included."""
        return -(-self.channels // CHANNELS)

    @property
    def whole(self) -> int:
        """Blocks of four channels."""
        return self.channels // CHANNELS

    @property
    def rest(self) -> int:
        """Channels of the last block if they are fewer than four, else 0."""
        return self.channels % CHANNELS

    @property
    def short(self) -> bool:
        """Whether biases are stored in two bytes: beside weights of 8 bits; others leave flash for what is faster."""
        return self.narrow and self.variant.bits == 8

    @property
    def ahead(self) -> int:
        """Words of constants that lie before the weights of each block."""
        return (CHANNELS // 2 if self.short else CHANNELS) if self.narrow else 0

    def words(self, patch: int) -> int:
        """Words that a block takes in the array of weights, for patches of so many words."""
        return self.ahead + patch * self.variant.words // 2

    @property
    def kernel(self) -> str:
        """What a micro-kernel for it is called; runs with the same name have the same."""
        blocks = f"rest{self.rest}" if self.rest and not self.whole else self.rest or ""
        return f"products_{self.variant.name}{'_narrow' if self.narrow else ''}{f'_{blocks}' if blocks else ''}"


@dataclass(frozen=True, eq=False)
class Sums:
    """What the accumulators of a layer hold, for codes of activations counted from the least one.

    Attributes:
        bias: where they start, ``(C_out,)``.
        low, high: what they can reach at the end.
        multiplier: per channel.
        shift: by which sums are shifted to the left before the bias is added; nearly always 0.
        unit: of which biases are multiples that fit 16 bits, a power of two, where one multiplier serves all channels
            of a matrix product; else ``None``.
    """

    bias: IntArray
    low: IntArray
    high: IntArray
    multiplier: IntArray
    shift: int
    unit: int | None = None

    @property
    def codes(self) -> tuple[int, int]:
        """Least and greatest code before zero point and clamp."""
        return int(((self.low * self.multiplier) >> 32).min()), int(((self.high * self.multiplier) >> 32).max())


def sums(op: Conv | Linear, source: Tensor) -> Sums:
    """The accumulators of a layer of flavour `Hi32`; all but ``multiplier`` as they are after the shift."""
    requant = op.requant
    assert isinstance(requant, Hi32)
    flat = op.weights.codes.reshape(op.weights.out_channels, -1).astype(np.int64)
    bias = op.bias.astype(np.int64) + (source.qmin * flat.sum(axis=1) << requant.shift)
    span = source.qmax - source.qmin << requant.shift
    low = bias + np.minimum(flat, 0).sum(axis=1) * span
    high = bias + np.maximum(flat, 0).sum(axis=1) * span
    multiplier = np.broadcast_to(requant.multiplier.astype(np.int64), bias.shape)
    shared = isinstance(op, Linear) and requant.shift == 0 and len(set(multiplier.tolist())) == 1
    return Sums(bias, low, high, multiplier, requant.shift, unit_of(bias.tolist()) if shared else None)


FEW = 28
"""Weights of a channel up to which they are packed as if of 8 bits: little to store, less to do around the products."""


MAX_RUNS = 12
"""Most runs of a layer; with more changes of width all channels are packed like the widest."""


def runs(op: Conv | Linear, found: Sums, *, wide: bool = False) -> tuple[Run, ...] | None:
    """The runs of a layer with the fastest variant for each, or `CHAIN8` for all; ``None`` if some run fits none.

    Every run but the last has whole blocks: where the width changes within four channels, the widest of them counts.
    """
    result: list[Run] = []
    for bits, first, count in runs_of([8] * op.weights.out_channels if wide else _widths(op)):
        variants = (CHAIN8,) if wide else VARIANTS[bits]
        variant = next((v for v in variants if _fits(v, op, found, range(first, first + count))), None)
        if variant is None:
            return None
        result.append(Run(variant, first, count, narrow=found.unit is not None and variant is not CHAIN8))
    return tuple(result)


def _widths(op: Conv | Linear) -> list[int]:
    """Bits as which the weights of each channel are packed."""
    bits = op.weights.bits
    if op.weights.codes[0].size <= FEW:
        return [8] * len(bits)
    packed = list(by_groups(bits))
    return packed if len(runs_of(packed)) <= MAX_RUNS else [max(bits)] * len(bits)


def _fits(variant: Variant, op: Conv | Linear, found: Sums, channels: range) -> bool:
    """Whether every channel's sum, scaled, is an int32, and packed weights fit their halves."""
    low, high = found.low[channels], found.high[channels]
    if found.shift:  # accumulators hold sums without shift and bias; afterwards nothing is scaled
        bias = found.bias[channels]
        low, high = low - bias >> found.shift, high - bias >> found.shift
    limit = 1 << np.array([variant.room[(c - channels.start) % CHANNELS] - 1 for c in channels], dtype=np.int64)
    if (low < -limit).any() or (high >= limit).any():
        return False
    if variant is not RAW8:
        return True
    flat = op.weights.codes.reshape(op.weights.out_channels, -1)[channels.start : channels.stop].astype(np.int64)
    lower, upper = (flat[start::2] for start in (0, 1))
    pairs = lower[: len(upper)] + 256 * upper
    return pairs.size == 0 or int(pairs.min()) >= -(1 << 15)


def _wrap(value: int) -> int:
    return int(wrap_int32(np.asarray(value, dtype=np.int64)))


MASKS = {"chain4": 0xF00FF00F, "chain2": 0x30033003}
"""What is left of a packed word that was turned, for chains."""

_FIELDS = {"chain4": ((0, 0), (8, 0), (4, 1), (12, 0)), "chain2": ((0, 0), (12, 0), (8, 1), (4, 1))}
"""Per channel, where its digit lies in a half, and whether in the half of the other code."""


def _chained(variant: Variant, low: Row, high: Row) -> int:
    """One word of a patch: the weights of four channels for the codes of its two halves."""
    word = 0
    for channel, (place, other) in enumerate(_FIELDS[variant.name]):
        for half, row in enumerate((low, high)):
            digit = row[channel] + variant.offsets[channel] & (1 << variant.bits) - 1
            word |= digit << place + 16 * (half ^ other)
    return word


def _overlapping(low: Row, high: Row) -> list[int]:
    """Operands of `CHAIN8` for one word of a patch: in each half a channel's digit and 256 times the next channel."""
    halves = [[row[i] + 128 + 256 * row[i + 1] & 0xFFFF for i in range(CHANNELS - 1)] for row in (low, high)]
    return [first | second << 16 for first, second in zip(*halves, strict=True)]


def _half(variant: Variant, weights: Row) -> int:
    """One code's weights for four channels as packed bits: 32 for 8-bit weights, else 16 or 8."""
    if variant is RAW8:
        pairs = [(weights[i] + 256 * weights[i + 1]) & 0xFFFF for i in (0, 2)]
        return pairs[0] | pairs[1] << 16
    mask = (1 << variant.bits) - 1
    # As unsigned digits, or in two's complement where nothing above would borrow.
    return sum(
        ((weight + offset) & mask) << (variant.bits * i)
        for i, (weight, offset) in enumerate(zip(weights, variant.offsets, strict=True))
    )


def _words(variant: Variant, codes: tuple[Row, Row, Row, Row]) -> list[int]:
    """Packed weights of two words of a patch: low and high half of the first, of the second."""
    if variant is CHAIN8:
        return [word for pair in (codes[:2], codes[2:]) for word in _overlapping(*pair)]
    if variant.chain:
        first, second = _chained(variant, *codes[:2]), _chained(variant, *codes[2:])
        return [first, second] if variant.bits == 4 else [first | second << 2]
    low, high, *following = (_half(variant, row) for row in codes)
    if variant.bits == 8:
        halves = ((low, high), following)
        return [(a >> s & 0xFFFF) | (b >> s & 0xFFFF) << 16 for a, b in halves for s in (0, 16)]
    if variant.bits == 4:
        return [low | high << 16, following[0] | following[1] << 16]
    return [(low | following[0] << 8) | (high | following[1] << 8) << 16]


def arrays(
    op: Conv | Linear, layout: Columns, found: Sums, parts: tuple[Run, ...], sizes: tuple[int, int]
) -> tuple[Array, ...]:
    """Weights as words; constants: per run sizes, then per block four starts and four multipliers.

    Of a narrow run the sizes are followed by its multiplier and, with short biases, their unit; what a block starts
    with lies before its weights: four biases in units, two in a word, or four starts.

    Args:
        op: the layer.
        layout: of its patches.
        found: its sums.
        parts: its runs.
        sizes: bytes of the patches of one call, bytes from an output pixel to the next.
    """
    weights = op.weights
    flat = weights.codes.reshape(weights.out_channels, -1).astype(int)
    places = layout.order(weights.codes.shape[-1])
    words: list[int] = []
    constants: list[int] = []
    for run in parts:
        constants += [*sizes, 4 * run.words(layout.words) * run.whole]
        constants += [int(found.multiplier[0])] if run.narrow else []
        constants += [found.unit] if run.short and found.unit is not None else []
        for first in range(run.first, run.first + run.channels, CHANNELS):
            channels = list(range(first, min(first + CHANNELS, run.first + run.channels)))
            rows = [flat[c].tolist() for c in channels]
            words += _ahead(run, found, channels) if run.narrow else []
            words += _block(run.variant, rows, places)
            constants += [] if run.narrow else _constants(run.variant, found, channels)
    widths = "/".join(str(run.variant.bits) for run in parts)
    comment = f"{weights.out_channels} channels in blocks of four, {widths} bits, packed for the micro-kernel"
    told = "; per block of four first accumulators, multipliers"
    if any(run.narrow for run in parts):
        told = ", multiplier and the unit of short biases"
        comment += ", after what accumulators start with"
    return (
        Array("_w", "uint32_t", tuple(words), comment),
        Array("_q", "int32_t", tuple(constants), f"per run sizes{told}"),
    )


def places(layout: Columns, found: Sums, parts: tuple[Run, ...]) -> list[tuple[int, int]]:
    """Where weights and constants of each run begin in the arrays, in elements."""
    before = [(0, 0)]
    for run in parts:
        constants = (3 if found.shift else 2) * CHANNELS * run.blocks
        if run.narrow:
            constants = 2 if run.short else 1
        before.append((before[-1][0] + run.words(layout.words) * run.blocks, before[-1][1] + 3 + constants))
    return before[:-1]


def _block(variant: Variant, rows: list[list[int]], places: list[tuple[int, int]]) -> list[int]:
    def codes(place: int) -> Row:
        found = [row[place] if place >= 0 else 0 for row in rows]
        found += [0] * (CHANNELS - len(found))
        return found[0], found[1], found[2], found[3]

    words: list[int] = []
    for (low, high), (next_low, next_high) in zip(places[::2], places[1::2], strict=True):
        words += _words(variant, (codes(low), codes(high), codes(next_low), codes(next_high)))
    return words


def _constants(variant: Variant, found: Sums, channels: list[int]) -> list[int]:
    """First accumulators, multipliers; with a shift zeros, biases, multipliers."""
    missing = [0] * (CHANNELS - len(channels))
    biases = [int(found.bias[c]) for c in channels] + missing
    multipliers = [int(found.multiplier[c]) for c in channels] + [1] * len(missing)
    if found.shift:
        return _starts(variant, [0] * CHANNELS) + biases + multipliers
    return _starts(variant, biases) + multipliers


def _ahead(run: Run, found: Sums, channels: list[int]) -> list[int]:
    """What lies before the weights of a block: biases in units, two in a word, or first accumulators."""
    assert found.unit is not None
    biases = [int(found.bias[c]) for c in channels] + [0] * (CHANNELS - len(channels))
    if not run.short:
        return [start & 0xFFFFFFFF for start in _starts(run.variant, biases)]
    halves = [bias // found.unit & 0xFFFF for bias in biases]
    return [low | high << 16 for low, high in zip(halves[::2], halves[1::2], strict=True)]


def _starts(variant: Variant, biases: list[int]) -> list[int]:
    biases = [bias << scale for bias, scale in zip(biases, variant.scales, strict=True)]
    if variant.chain:
        return _chain_starts(variant, biases)
    starts: list[int] = []
    for bias, below in zip(biases, variant.below, strict=True):
        starts.append(_wrap(bias + (starts[below] if below is not None else 0)))
    return starts


def _chain_starts(variant: Variant, scaled: list[int]) -> list[int]:
    """The mask, and P, Q and V of biases scaled as the variant says."""
    first, second, third, last = scaled
    if variant is CHAIN8:
        q, v = (second >> 8) + third, (third >> 8) + last
        return [0, _wrap(first + second), _wrap(q), _wrap(v)]
    above = 0 if variant.scales[3] else first << 12
    starts = (MASKS[variant.name], first + second, (second >> variant.scales[1]) + third, last + above)
    return [_wrap(value) for value in starts]
