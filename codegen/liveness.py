# SPDX-License-Identifier: Apache-2.0
"""Which buffers live when, and the least arena that any placement could need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Block:
    """A piece of arena that is needed from one step to another.

    Attributes:
        name: unique.
        nbytes: size, at least 1.
        first: step that writes it first.
        last: last step that reads or writes it; at least ``first``.
    """

    name: str
    nbytes: int
    first: int
    last: int

    def meets(self, other: Block) -> bool:
        """Whether both live during some step, so that they must not share a byte."""
        return self.first <= other.last and other.first <= self.last


def round_up(nbytes: int, alignment: int) -> int:
    """The next multiple of ``alignment``."""
    return -(-nbytes // alignment) * alignment


def live_bytes(blocks: Sequence[Block], alignment: int) -> tuple[int, ...]:
    """Bytes that live during each step, sizes rounded up to the alignment."""
    steps = 1 + max((block.last for block in blocks), default=-1)
    live = [0] * steps
    for block in blocks:
        for step in range(block.first, block.last + 1):
            live[step] += round_up(block.nbytes, alignment)
    return tuple(live)


def bound(blocks: Sequence[Block], alignment: int) -> int:
    """Lower bound of the arena: all that lives during the fullest step, whatever the placement."""
    return max(live_bytes(blocks, alignment), default=0)
