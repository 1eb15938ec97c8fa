# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

import pytest

from plinio_deploy.errors import UsageError
from plinio_deploy.search import schedules


def test_progress_goes_from_the_first_to_the_last_epoch() -> None:
    assert [schedules.progress(e, 5) for e in range(5)] == [0, 0.25, 0.5, 0.75, 1]
    assert schedules.progress(0, 1) == 1
    assert schedules.progress(9, 5) == 1
    with pytest.raises(UsageError):
        schedules.progress(0, 0)


@pytest.mark.parametrize("make", [schedules.linear, schedules.exponential, schedules.cosine])
def test_schedules_go_from_start_to_end_and_stay(make: Callable[..., schedules.Schedule]) -> None:
    schedule = make(4.0, 0.25, 0.5)
    assert schedule(0) == pytest.approx(4)
    assert schedule(0.5) == pytest.approx(0.25)
    assert schedule(1) == pytest.approx(0.25)
    values = [schedule(i / 20) for i in range(11)]
    assert values == sorted(values, reverse=True)


def test_the_middle_of_each() -> None:
    assert schedules.linear(1, 3)(0.5) == 2
    assert schedules.exponential(1, 4)(0.5) == pytest.approx(2)
    assert schedules.cosine(1, 3)(0.5) == pytest.approx(2)
    assert schedules.cosine(0, 1)(0.25) < 0.25
    assert schedules.constant(7)(0.3) == 7


def test_delayed_waits() -> None:
    schedule = schedules.delayed(schedules.linear(1, 3), 0.5)
    assert [schedule(at) for at in (0, 0.49, 0.5, 0.75, 1)] == [0, 0, 1, 2, 3]
    with pytest.raises(UsageError):
        schedules.delayed(schedule, 1)


def test_exponential_refuses_zero() -> None:
    with pytest.raises(UsageError):
        schedules.exponential(1, 0)
