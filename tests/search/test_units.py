# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from plinio_deploy.errors import UsageError
from plinio_deploy.search import cost
from plinio_deploy.search.cost.spec import CostSpec
from plinio_deploy.search.units import parse, unit_of


@pytest.mark.parametrize(
    ("amount", "unit", "value"),
    [
        (1234, None, 1234),
        (0.5, "bit", 0.5),
        ("25000", None, 25000),
        ("30 %", None, 60),
        ("12.5%", "bit", 25),
        ("64 kB", "bit", 512_000),
        ("64 kB", "byte", 64_000),
        ("64KiB", "byte", 65_536),
        ("8 Mbit", "byte", 1e6),
        ("1.5 Mcycles", "cycle", 1.5e6),
        ("2 mJ", "J", 2e-3),
        ("3 uJ", "J", 3e-6),
        ("12 M", None, 12e6),
        ("77.7 kparams", "param", 77_700),
        ("12 MMACs", "op", 12e6),
        ("1e3 B", "byte", 1000),
    ],
)
def test_amounts(amount: float | str, unit: str | None, value: float) -> None:
    assert parse(amount, 200.0, unit) == pytest.approx(value)


@pytest.mark.parametrize(
    ("amount", "unit"),
    [
        ("64 kB", "cycle"),
        ("64 kB", None),
        ("lots", "bit"),
        ("-3 kB", "bit"),
        ("3 parsec", "bit"),
        ("3 m", "bit"),
        ("", "bit"),
    ],
)
def test_amounts_that_make_no_sense_are_refused(amount: str, unit: str | None) -> None:
    with pytest.raises(UsageError):
        parse(amount, 200.0, unit)


def test_the_units_of_our_costs_are_known() -> None:
    assert unit_of(cost.params_bit) == "bit"
    assert unit_of(cost.flash) == "byte"
    assert unit_of(cost.peak_ram) == "byte"
    assert unit_of(cost.mpic_latency) == "cycle"
    assert unit_of(cost.mpic_energy) == "J"


def test_a_cost_of_ones_own_may_say_its_unit() -> None:
    assert unit_of(CostSpec()) is None
    assert unit_of(CostSpec(unit="byte")) == "byte"
