# SPDX-License-Identifier: Apache-2.0
"""Live bytes per step and the bound that follows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plinio_deploy.codegen.liveness import Block, bound, live_bytes, round_up


@st.composite
def blocks(draw: st.DrawFn) -> list[Block]:
    found = []
    for index in range(draw(st.integers(0, 14))):
        first = draw(st.integers(0, 10))
        found.append(Block(f"b{index}", draw(st.integers(1, 300)), first, draw(st.integers(first, 12))))
    return found


@given(blocks())
def test_the_bound_is_the_fullest_step(of: list[Block]) -> None:
    live = live_bytes(of, 1)
    for step, total in enumerate(live):
        assert total == sum(block.nbytes for block in of if block.first <= step <= block.last)
    assert bound(of, 1) == max(live, default=0)


@given(blocks())
def test_blocks_meet_if_they_share_a_step(of: list[Block]) -> None:
    for one in of:
        for other in of:
            steps = set(range(one.first, one.last + 1)) & set(range(other.first, other.last + 1))
            assert one.meets(other) == bool(steps)


def test_no_blocks_need_nothing() -> None:
    assert live_bytes([], 4) == ()
    assert bound([], 4) == 0


def test_sizes_count_up_to_the_alignment() -> None:
    assert live_bytes([Block("a", 5, 0, 1), Block("b", 1, 1, 1)], 4) == (8, 12)


def test_sizes_are_rounded_up() -> None:
    assert [round_up(size, 4) for size in (0, 1, 4, 5)] == [0, 4, 4, 8]
