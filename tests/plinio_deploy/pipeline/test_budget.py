# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from plinio_deploy.errors import DoesNotFit, UsageError
from plinio_deploy.pipeline.budget import Sizes, check, excess, overhead, portable, require_room
from plinio_deploy.pipeline.request import Limits
from plinio_deploy.targets import registry

SIZES = {"a": Sizes(10_000, 2_000, 6_000, 1_500), "b": Sizes(9_000, 2_500, 6_000, 1_500)}


def measured(flash: int, ram: int, cycles: int | None) -> dict[str, Any]:
    return {"target": "t", "memory": {"flash_bytes": flash, "ram_bytes": ram}, "total": {"cycles": cycles}}


def test_overhead_is_the_largest_of_all_targets() -> None:
    assert overhead(SIZES) == {"flash": 4_000, "ram": 1_000}


def test_excess_is_that_of_the_largest_firmware_and_of_limited_sizes_only() -> None:
    assert excess(SIZES, Limits(flash=9_900), slack=0.0) == {"flash": 100}
    assert excess(SIZES, Limits(flash=10_000), slack=0.01) == {"flash": pytest.approx(100)}
    assert excess(SIZES, Limits(ram=2_500, cycles=1), slack=0.0) == {}


def test_limits_below_what_code_takes_are_refused() -> None:
    require_room(Limits(flash=4_001), {"flash": 4_000, "ram": 0})
    with pytest.raises(DoesNotFit, match="limit on flash leaves no room") as refused:
        require_room(Limits(flash=4_000), {"flash": 4_000, "ram": 0})
    assert refused.value.hints == ("raise --max-flash",)
    with pytest.raises(DoesNotFit) as refused:
        require_room(Limits(flash=4_000, cycles=1), {"flash": 4_000, "ram": 0})
    assert "leave --max-cycles out" in refused.value.hints[1]


@pytest.mark.parametrize(
    ("limits", "name"), [(Limits(flash=99), "flash"), (Limits(ram=49), "ram"), (Limits(cycles=6), "cycles")]
)
def test_what_is_measured_is_held_against_the_limits(limits: Limits, name: str) -> None:
    check([measured(100, 50, 7)], Limits(100, 50, 7))
    with pytest.raises(DoesNotFit, match=f"t misses the limit on {name} by 1 "):
        check([measured(100, 50, 7)], limits)


def test_cycles_that_nobody_measures_are_no_pass() -> None:
    with pytest.raises(UsageError, match="nothing measures cycles"):
        check([measured(100, 50, None)], Limits(cycles=7))


def test_a_portable_target_differs_in_its_kernels_alone() -> None:
    target = registry.load("cortex-m4")
    small = portable(target)
    assert target.features
    assert not small.features
    assert small.flags == target.flags
