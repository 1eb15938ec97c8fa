# SPDX-License-Identifier: Apache-2.0
"""Neighbouring output channels of one width, whose weights and constants lie in groups of four.

What the dot products of `thumb` and `mve` have in common: micro-kernels of one width take a run, group by group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from plinio_deploy import network
from plinio_deploy.packing import GROUP, packed_as

CHANNELS = GROUP
"""Output channels of a group."""

MAX_RUNS = 16
"""With more runs of equal width than this, calls would outgrow what they save: some channels are packed wider."""


@dataclass(frozen=True)
class Run:
    """Neighbouring output channels of one width.

    Attributes:
        bits: of a weight.
        first, channels: which output channels; the last group may have fewer than four.
        weights, constants: what lies before its own, in the units that were asked for.
    """

    bits: int
    first: int
    channels: int
    weights: int
    constants: int

    @property
    def whole(self) -> int:
        """Channels, rounded up to whole groups."""
        return -(-self.channels // CHANNELS) * CHANNELS


def packed_widths(bits: tuple[int, ...]) -> tuple[int, ...]:
    """Bits as which the weights of each channel are packed: their own, unless runs are too many or split a group.

    A group of its own for one channel takes as long as one of four, and as much flash.

    Args:
        bits: of the weights of each channel.
    """
    return packed_as(bits, MAX_RUNS)


def runs_of(widths: Sequence[int], per_channel: Callable[[int], int], constants: int) -> tuple[Run, ...]:
    """The runs of a layer, in order.

    Args:
        widths: bits as which the weights of each channel are packed.
        per_channel: size of a channel's weights, by their width in bits.
        constants: number of constants of a channel.
    """
    found: list[Run] = []
    before = 0
    for bits, first, count in network.runs_of(widths):
        run = Run(bits, first, count, before, constants * sum(earlier.whole for earlier in found))
        before += run.whole * per_channel(bits)
        found.append(run)
    return tuple(found)


def widths_of(runs: Iterable[Run]) -> dict[int, bool]:
    """Widths, the largest first; whether a run of that width ends with a group of fewer than four channels."""
    found: dict[int, bool] = {}
    for run in sorted(runs, key=lambda run: -run.bits):
        found[run.bits] = found.get(run.bits, False) or run.channels != run.whole
    return found
