# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest

from benchmarks.pareto_points import Point, at_size, compare, front


def point(method: str, size: float, accuracy: float, setting: float = 1.0, seed: int = 0) -> Point:
    return Point(method, setting, seed, size, 0.0, 0.0, accuracy, 0.0)


def test_a_front_keeps_what_nothing_beats_and_averages_seeds() -> None:
    points = [
        point("pit", 10, 70, 3),
        point("pit", 20, 60, 2),
        point("pit", 40, 80, 1),
        point("pit", 40, 90, 1, seed=1),
    ]
    assert front(points) == [(10, 70), (40, 85)]


def test_between_points_accuracy_is_linear_in_the_logarithm_of_size() -> None:
    kept = [(10.0, 70.0), (40.0, 80.0)]
    assert at_size(kept, 20) == pytest.approx(75)
    assert at_size(kept, 9) is None
    assert at_size(kept, 100) == 80
    assert at_size([], 1) is None


def test_the_comparison_states_gains_and_lossless_reduction() -> None:
    widths = [point("width", 100, 90), point("width", 25, 80, 0.5), point("width", 10, 70, 0.3)]
    found = compare([*widths, point("pit", 30, 90.5, 1), point("pit", 20, 85, 2)])
    assert found["seed"] == {"size_bytes": 100, "accuracy": 90}
    assert found["pit"]["reduction_percent_at_no_loss"] == 70
    rows = {row["size_fraction"]: row for row in found["pit"]["at_equal_size"]}
    assert rows[0.4]["gain"] == pytest.approx(90.5 - (80 + 10 * math.log(1.6) / math.log(4)), abs=1e-3)
    assert rows[0.6]["accuracy"] == 90.5
