# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from benchmarks.coremark_ibex import PUBLISHED, TOLERANCE, published, run

pytestmark = pytest.mark.rtl


def test_published_figures_are_read_from_the_package() -> None:
    assert [published(config) for config in PUBLISHED.values()] == [3.13, 2.47]


def test_coremark_on_ibex_takes_the_cycles_that_its_makers_publish() -> None:
    score = run("ibex")
    assert score.error is not None
    assert abs(score.error) < TOLERANCE
    assert 2_700_000 < score.instructions < 2_740_000
