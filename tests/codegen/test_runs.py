# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np

from plinio_deploy.codegen.runs import Run, runs_of, widths_of
from plinio_deploy.network import Weights


def test_runs_are_stored_one_after_another_in_whole_groups() -> None:
    weights = Weights(np.zeros((8, 1), dtype=np.int8), (8, 8, 8, 8, 8, 2, 2, 8))
    runs = runs_of(weights, lambda bits: 3 * bits, 2)
    assert runs == (Run(8, 0, 5, 0, 0), Run(2, 5, 2, 8 * 24, 8 * 2), Run(8, 7, 1, 8 * 24 + 4 * 6, 12 * 2))
    assert [run.whole for run in runs] == [8, 4, 4]


def test_widths_tell_whether_a_last_group_is_short() -> None:
    runs = (Run(2, 0, 4, 0, 0), Run(8, 4, 8, 0, 0), Run(4, 12, 3, 0, 0), Run(4, 15, 4, 0, 0))
    assert list(widths_of(runs).items()) == [(8, False), (4, True), (2, False)]
