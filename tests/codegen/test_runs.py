# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plinio_deploy import network
from plinio_deploy.codegen.runs import MAX_RUNS, Run, packed_widths, runs_of, widths_of


def test_runs_are_stored_one_after_another_in_whole_groups() -> None:
    runs = runs_of((8, 8, 8, 8, 8, 2, 2, 8), lambda bits: 3 * bits, 2)
    assert runs == (Run(8, 0, 5, 0, 0), Run(2, 5, 2, 8 * 24, 8 * 2), Run(8, 7, 1, 8 * 24 + 4 * 6, 12 * 2))
    assert [run.whole for run in runs] == [8, 4, 4]


def test_widths_tell_whether_a_last_group_is_short() -> None:
    runs = (Run(2, 0, 4, 0, 0), Run(8, 4, 8, 0, 0), Run(4, 12, 3, 0, 0), Run(4, 15, 4, 0, 0))
    assert list(widths_of(runs).items()) == [(8, False), (4, True), (2, False)]


@given(st.lists(st.tuples(st.sampled_from([8, 4, 2]), st.integers(1, 6)), min_size=1, max_size=40))
def test_channels_are_packed_wider_only_where_runs_are_many_or_split_groups(drawn: list[tuple[int, int]]) -> None:
    bits = tuple(width for width, count in drawn for _ in range(count))
    packed = packed_widths(bits)
    runs = network.runs_of(bits)
    if len(runs) <= MAX_RUNS and not any(first % 4 for _, first, _ in runs):
        assert packed == bits
        return
    assert all(wide >= own for wide, own in zip(packed, bits, strict=True))
    assert len(network.runs_of(packed)) <= MAX_RUNS
    assert not any(first % 4 for _, first, _ in network.runs_of(packed))


def test_the_widest_of_a_group_counts() -> None:
    assert packed_widths((8, 4, 8, 2, 2, 2)) == (8, 8, 8, 8, 2, 2)
    assert packed_widths((8,) * 3 + (4,) * 13) == (8,) * 4 + (4,) * 12
    assert packed_widths((2, 4) * 9 + (2,) * 8) == (4,) * 20 + (2,) * 6
