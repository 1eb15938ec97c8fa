# SPDX-License-Identifier: Apache-2.0
"""Offsets in the static arena.

Greedy placement under several orders, the best one kept. Where that misses the liveness bound, a small branch and bound
over placements from the bottom up looks for a better one, within a fixed number of nodes, so that the result is always
the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from plinio_deploy.codegen.liveness import Block, bound, live_bytes, round_up

ALIGNMENT = 4
"""Every buffer starts at a multiple of this: kernels may read whole words."""

NODE_LIMIT = 50_000
"""Placements that the exact search tries before it settles for the best one found."""

ROUNDS = 100
"""Greedy placements that are tried with a new order before the exact search."""

BLOCK_LIMIT = 300
"""With more blocks than this the exact search, which recurses once per block, is not tried."""


@dataclass(frozen=True)
class MemoryPlan:
    """Where each block lies.

    Attributes:
        offsets: bytes from the start of the arena, by block name; multiples of `ALIGNMENT`.
        arena_bytes: end of the highest block, rounded up to the alignment.
        bound_bytes: what no placement of these blocks can go below.
        method: the order that won, or ``exact``.
    """

    offsets: Mapping[str, int]
    arena_bytes: int
    bound_bytes: int
    method: str


_Order = Callable[[Block], tuple[int, ...]]

_ORDERS: Mapping[str, _Order] = {
    "by size": lambda b: (-b.nbytes, b.first),
    "by lifetime": lambda b: (b.first - b.last, -b.nbytes, b.first),
    "by size times lifetime": lambda b: (-b.nbytes * (b.last - b.first + 1), b.first),
    "by first use": lambda b: (b.first, -b.nbytes),
    "by last use": lambda b: (-b.last, -b.nbytes),
}


def plan(blocks: Sequence[Block], alignment: int = ALIGNMENT, node_limit: int = NODE_LIMIT) -> MemoryPlan:
    """Place blocks so that no two that live at one time share a byte.

    Args:
        blocks: in any order; names are unique.
        alignment: of every offset, a power of two.
        node_limit: effort of the exact search; 0 turns it off.

    Returns:
        The smallest arena found.
    """
    least = bound(blocks, alignment)
    best: MemoryPlan | None = None
    for method, order in [("at the fullest step first", _fullest_first(blocks, alignment)), *_ORDERS.items()]:
        offsets = _greedy(_sorted(blocks, order), alignment)
        arena = _height(blocks, offsets, alignment)
        if best is None or arena < best.arena_bytes:
            best = MemoryPlan(offsets, arena, least, method)
        if arena == least:
            break
    assert best is not None
    if best.arena_bytes > least and node_limit:
        best = _squeaky(blocks, alignment, best)
    if best.arena_bytes > least and node_limit and len(blocks) <= BLOCK_LIMIT:
        found = _Search(blocks, alignment, node_limit).improve(best.arena_bytes, least)
        if found is not None:
            best = MemoryPlan(found, _height(blocks, found, alignment), least, "exact")
    return best


def _sorted(blocks: Sequence[Block], order: _Order) -> list[Block]:
    return sorted(blocks, key=lambda b: (*order(b), b.name))


def _fullest_first(blocks: Sequence[Block], alignment: int) -> _Order:
    live = live_bytes(blocks, alignment)
    fullest = live.index(max(live)) if live else 0
    return lambda b: (0 if b.first <= fullest <= b.last else 1, -b.nbytes, b.first)


def _height(blocks: Sequence[Block], offsets: Mapping[str, int], alignment: int) -> int:
    return max((offsets[b.name] + round_up(b.nbytes, alignment) for b in blocks), default=0)


def _greedy(blocks: Sequence[Block], alignment: int) -> dict[str, int]:
    """Each block in turn into the lowest gap that holds it."""
    offsets: dict[str, int] = {}
    placed: list[Block] = []
    for block in blocks:
        size = round_up(block.nbytes, alignment)
        offset = 0
        for other in sorted((b for b in placed if b.meets(block)), key=lambda b: (offsets[b.name], b.name)):
            if offsets[other.name] >= offset + size:
                break
            offset = max(offset, offsets[other.name] + round_up(other.nbytes, alignment))
        offsets[block.name] = offset
        placed.append(block)
    return offsets


def _squeaky(blocks: Sequence[Block], alignment: int, best: MemoryPlan) -> MemoryPlan:
    """Greedy again and again, each time with the blocks that reached highest moved to the front of the order."""
    order = sorted(blocks, key=lambda b: (best.offsets[b.name], b.name))
    for _ in range(ROUNDS):
        offsets = _greedy(order, alignment)
        arena = _height(blocks, offsets, alignment)
        if arena < best.arena_bytes:
            best = MemoryPlan(offsets, arena, best.bound_bytes, "by complaint")
        if best.arena_bytes == best.bound_bytes:
            break
        top = {b.name for b in blocks if offsets[b.name] + round_up(b.nbytes, alignment) == arena}
        order.sort(key=lambda b: b.name not in top)
    return best


class _Search:
    """Depth-first over orders of placing blocks bottom-up, each on top of what it meets.

    Any placement can be pushed down until each block stands on the floor or on a block that it meets, so orders by
    rising offset are enough. A branch dies when, at some step, the pile plus all that must still go on it reaches the
    best arena.
    """

    def __init__(self, blocks: Sequence[Block], alignment: int, node_limit: int) -> None:
        self._blocks = sorted(blocks, key=lambda b: (-b.nbytes * (b.last - b.first + 1), b.first, b.name))
        self._sizes = [round_up(b.nbytes, alignment) for b in self._blocks]
        self._nodes = node_limit
        live = live_bytes(blocks, alignment)
        self._piles = [0] * len(live)
        self._rest = list(live)
        self._offsets: dict[int, int] = {}
        self._best: dict[str, int] | None = None
        self._limit = 0

    def improve(self, known: int, least: int) -> dict[str, int] | None:
        """Offsets of the smallest arena found below ``known``; ``None`` if there is none within the effort.

        Half of the effort goes into an arena of exactly ``least``, which prunes most; the rest into any smaller one.
        """
        budget = self._nodes
        for limit, nodes in ((least + 1, budget // 2), (known, budget - budget // 2)):
            self._limit, self._nodes = limit, nodes
            self._descend(0, 0, -1, least)
            if self._best is not None:
                break
        return self._best

    def _descend(self, height: int, floor: int, last: int, least: int) -> None:
        """Place one more block at ``floor`` or above; at ``floor`` itself only one that comes after ``last``."""
        if len(self._offsets) == len(self._blocks):
            self._best = {self._blocks[i].name: offset for i, offset in self._offsets.items()}
            self._limit = height
            return
        seen: set[tuple[int, int, int]] = set()
        choices: list[tuple[int, int]] = []
        for index, block in enumerate(self._blocks):
            twin = (self._sizes[index], block.first, block.last)
            if index in self._offsets or twin in seen:
                continue
            seen.add(twin)
            offset = max(self._piles[block.first : block.last + 1])
            # Blocks at one height do not meet, so that only one order among them is worth a look.
            if (offset, index) > (floor, last):
                choices.append((offset, index))
        for offset, index in sorted(choices):
            if self._nodes <= 0 or self._limit <= least:
                return
            self._nodes -= 1
            self._place(index, offset, height, least)

    def _place(self, index: int, offset: int, height: int, least: int) -> None:
        block, size = self._blocks[index], self._sizes[index]
        span = slice(block.first, block.last + 1)
        piles, rest = self._piles[span], self._rest[span]
        self._piles[span] = [offset + size] * len(piles)
        self._rest[span] = [bytes_left - size for bytes_left in rest]
        if max(map(sum, zip(self._piles[span], self._rest[span], strict=True))) < self._limit:
            self._offsets[index] = offset
            self._descend(max(height, offset + size), offset, index, least)
            del self._offsets[index]
        self._piles[span], self._rest[span] = piles, rest
