# SPDX-License-Identifier: Apache-2.0
"""The planner: no overlap, aligned, never below the bound, and at it where the exact search can get there."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plinio_deploy.codegen.liveness import Block, bound
from plinio_deploy.codegen.memory import ALIGNMENT, BLOCK_LIMIT, MemoryPlan, plan


@st.composite
def blocks(draw: st.DrawFn, most: int = 14) -> list[Block]:
    count = draw(st.integers(0, most))
    found = []
    for index in range(count):
        first = draw(st.integers(0, 10))
        last = draw(st.integers(first, min(10, first + 5)))
        found.append(Block(f"b{index}", draw(st.integers(1, 300)), first, last))
    return found


def check(found: MemoryPlan, of: list[Block], alignment: int) -> None:
    assert set(found.offsets) == {block.name for block in of}
    for block in of:
        assert found.offsets[block.name] >= 0
        assert found.offsets[block.name] % alignment == 0
        assert found.offsets[block.name] + block.nbytes <= found.arena_bytes
    for one, other in combinations(of, 2):
        if one.meets(other):
            low, high = sorted((one, other), key=lambda block: found.offsets[block.name])
            assert found.offsets[low.name] + low.nbytes <= found.offsets[high.name], (one, other)
    assert found.bound_bytes <= found.arena_bytes


@given(blocks(), st.sampled_from([1, 4, 8, 32]))
def test_live_blocks_never_overlap(of: list[Block], alignment: int) -> None:
    check(plan(of, alignment, node_limit=2000), of, alignment)


@given(blocks(7))
def test_the_exact_search_is_at_least_as_good_as_greedy(of: list[Block]) -> None:
    greedy, exact = plan(of, node_limit=0), plan(of)
    check(exact, of, ALIGNMENT)
    assert exact.arena_bytes <= greedy.arena_bytes


@given(blocks(), st.randoms(use_true_random=False))
def test_the_plan_does_not_depend_on_the_order_of_the_blocks(of: list[Block], random: object) -> None:
    shuffled = list(of)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert dict(plan(shuffled).offsets) == dict(plan(of).offsets)


def test_nothing_to_place_needs_nothing() -> None:
    assert plan([]).arena_bytes == 0


def test_a_chain_needs_its_two_largest_neighbours() -> None:
    chain = [Block("a", 100, 0, 1), Block("b", 200, 1, 2), Block("c", 50, 2, 3)]
    assert plan(chain).arena_bytes == 300


def hard_case(seed: int, count: int) -> list[Block]:
    """Blocks of random sizes, some of which live long: harder than real networks, whose plans always meet the bound."""
    rng = np.random.default_rng(seed)
    found = []
    for index in range(count):
        first, life = int(rng.integers(count)), int(rng.choice([0, 1, 1, 2, 3, 6, 10]))
        found.append(Block(f"b{index}", int(rng.integers(1, 4000)), first, min(count - 1, first + life)))
    return found


@pytest.mark.parametrize("count", [10, 20])
def test_where_greedy_misses_the_bound_the_search_mostly_reaches_it(count: int) -> None:
    greedy_missed = missed = 0
    for seed in range(60):
        of = hard_case(seed, count)
        greedy_missed += plan(of, node_limit=0).arena_bytes > bound(of, ALIGNMENT)
        found = plan(of, node_limit=5000)
        check(found, of, ALIGNMENT)
        missed += found.arena_bytes > found.bound_bytes
        assert found.arena_bytes <= 1.05 * found.bound_bytes, seed
    assert greedy_missed > 4 * missed


def test_a_very_long_network_is_placed_without_the_search() -> None:
    of = hard_case(3, BLOCK_LIMIT + 200)
    check(plan(of), of, ALIGNMENT)
