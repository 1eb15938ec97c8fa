# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from benchmarks.pareto_course import Budget, Course


def test_a_trained_seed_is_kept_and_searches_may_start_from_it(tmp_path: Path) -> None:
    data, budget = tmp_path / "data", Budget(None, None, 2, (1.0,), (1.0,), batch=8)
    data.mkdir()
    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("test", 4)):
        x = rng.integers(0, 255, (count, 3, 32, 32)).astype(np.uint8)
        np.savez(data / f"toy_{part}.npz", x=x, y=np.arange(count) % 10)
    course = Course(data, budget, 0, "cpu", tmp_path / "cache")
    seed = course.trained()
    again = Course(data, budget, 0, "cpu", tmp_path / "cache").trained()
    assert all(torch.equal(a, b) for a, b in zip(seed.parameters(), again.parameters(), strict=True))
    longer = course.trained(4)
    assert not all(torch.equal(a, b) for a, b in zip(seed.parameters(), longer.parameters(), strict=True))
    assert len(list((tmp_path / "cache").iterdir())) == 2
    started = course.continued(seed).start()
    assert started is not seed
    assert all(torch.equal(a, b) for a, b in zip(seed.parameters(), started.parameters(), strict=True))
    assert course.phases()[0] == 1
    assert course.continued(seed).phases()[0] == 0
