# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from benchmarks.pareto_common import _read
from tests.benchmarks.test_pareto_points import point


def test_points_are_taken_over_from_runs_under_the_same_conditions(tmp_path: Path) -> None:
    path = tmp_path / "earlier.json"
    document = {"data": "toy", "budget": {"epochs": 3}, "points": [asdict(point("pit", 10, 70))]}
    path.write_text(json.dumps(document), encoding="utf-8")
    found = _read(path, {"data": "toy", "budget": {"epochs": 3}})
    assert [asdict(one) for one in found] == [asdict(point("pit", 10, 70))]
    assert _read(path, {"data": "toy", "budget": {"epochs": 4}}) == []
    assert _read(tmp_path / "none.json", {}) == []
