# SPDX-License-Identifier: Apache-2.0
"""The choice of bands for a limit of the arena, held against all bands that there are."""

from __future__ import annotations

import pytest

from plinio_deploy.codegen.bands import runs_in_bands
from plinio_deploy.codegen.lower import Program, lower
from plinio_deploy.codegen.schedule import Bands, Schedule
from plinio_deploy.codegen.streaming import PER_BYTE, PER_CALL, cost, within
from plinio_deploy.errors import DoesNotFit, UsageError
from plinio_deploy.network import Network
from tests.networks import Builder

PORTABLE: frozenset[str] = frozenset()
SAME = (1, 1, 1, 1)


def network() -> Network:
    """A large image that shrinks, and a layer at the end that cannot run in bands."""
    b = Builder(0)
    q = (8, False, 0.05, 0)
    x = b.conv(b.input((16, 8, 2), q), 8, padding=SAME, out=q)
    x = b.conv(x, 8, padding=SAME, groups=8, out=q)
    x = b.conv(x, 4, (1, 1), stride=(2, 2), out=q)
    x = b.conv(x, 4, padding=SAME, out=q)
    return b.build(b.linear(b.flatten(x), 3))


def programs(of: Network) -> dict[Bands, Program]:
    """Everything that can be made of bands that begin with the first layer."""
    found = {}
    for op in of.ops[1:]:
        if not runs_in_bands(of, op):
            break
        for rows in range(1, of.tensors[op.output].shape[0]):
            bands = Bands(first=of.ops[0].name, last=op.name, rows=rows)
            try:
                found[bands] = lower(of, "net", PORTABLE, Schedule(bands=bands))
            except UsageError:
                continue
    return found


def test_the_limit_is_met_by_the_cheapest_that_fits() -> None:
    of = network()
    whole, tried = lower(of, "net", PORTABLE).memory.arena_bytes, programs(of)
    sizes = {made.memory.arena_bytes for made in tried.values()}
    chosen = []
    for limit in sorted(size for size in sizes if size < whole):
        schedule = within(of, PORTABLE, Schedule(), limit)
        made = lower(of, "net", PORTABLE, schedule)
        assert made.memory.arena_bytes <= limit
        fitting = [cost(found) for found in tried.values() if found.memory.arena_bytes <= limit]
        assert cost(made) == min(fitting)
        chosen.append((cost(made), schedule.bands))
    assert len({bands for _, bands in chosen}) > 2
    costs = [least for least, _ in chosen]
    assert costs == sorted(costs, reverse=True)


def test_a_limit_that_holds_leaves_the_schedule_alone() -> None:
    of = network()
    whole = lower(of, "net", PORTABLE).memory.arena_bytes
    schedule = Schedule.of({of.ops[0].name: "conv_plain"})
    assert within(of, PORTABLE, schedule, whole) is schedule
    banded = within(of, PORTABLE, schedule, whole - 1)
    assert banded.bands is not None
    assert banded.layers == schedule.layers


def test_a_limit_that_cannot_be_met_names_the_least() -> None:
    of = network()
    least = min(made.memory.arena_bytes for made in programs(of).values())
    with pytest.raises(DoesNotFit) as caught:
        within(of, PORTABLE, Schedule(), least - 1)
    assert caught.value.got == f"{least} bytes at least"
    assert caught.value.hints == (f"allow an arena of {least} bytes",)
    assert within(of, PORTABLE, Schedule(), least).bands is not None


def test_a_scheduled_kernel_that_takes_no_small_bands_gets_larger_ones() -> None:
    b = Builder(0)
    q = (8, False, 0.05, 0)
    x = b.conv(b.conv(b.input((16, 16, 8), q), 8, (1, 1), out=q), 8, padding=SAME, out=q)
    of, dsp = b.build(b.max_pool(x, (16, 16))), frozenset({"dsp"})
    schedule = Schedule.of({of.ops[1].name: "conv_winograd_scratch(patches=8)"})
    with pytest.raises(UsageError, match="does not execute"):
        lower(of, "net", dsp, schedule.model_copy(update={"bands": Bands(first="conv0", last="conv1", rows=1)}))
    whole = lower(of, "net", dsp, schedule).memory.arena_bytes
    banded = within(of, dsp, schedule, whole - 1)
    assert banded.bands is not None
    assert banded.layers == schedule.layers
    assert lower(of, "net", dsp, banded).memory.arena_bytes < whole


def test_bands_cost_their_calls_and_copies() -> None:
    of = network()
    bands = Bands(first=of.ops[0].name, last=of.ops[1].name, rows=4)
    whole, made = (lower(of, "net", PORTABLE, schedule) for schedule in (Schedule(), Schedule(bands=bands)))
    # Plain kernels cost the same per output and product wherever they lie. Four bands of two layers; between the bands,
    # two rows of 64 bytes go aside and come back.
    assert cost(made) - cost(whole) == pytest.approx(8 * PER_CALL + 3 * 2 * 2 * 64 * PER_BYTE)


def test_bands_cost_the_kernels_that_they_rule_out() -> None:
    b = Builder(0)
    q = (8, False, 0.05, 0)
    x = b.conv(b.input((8, 2, 2), q), 2, (1, 1), out=q)
    of = b.build(b.add(x, b.input((8, 2, 2), q), q))
    # Rows have four elements, and the unrolled addition takes a multiple of eight.
    bands = [Bands(first=of.ops[0].name, last=of.ops[1].name, rows=rows) for rows in (4, 1)]
    two, eight = (lower(of, "net", frozenset({"dsp"}), Schedule(bands=found)) for found in bands)
    assert [made.steps[1].kernel.name for made in (two, eight)] == ["add_unrolled", "add_plain"]
    added = [sum(made.steps[1].kernel.cost(call.site) for call in made.steps[1].calls) for made in (two, eight)]
    assert added == [7 * 32, 14 * 32]
    assert cost(eight) - cost(two) == pytest.approx(7 * 32 + 2 * 6 * PER_CALL)
