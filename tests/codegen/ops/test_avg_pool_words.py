# SPDX-License-Identifier: Apache-2.0
"""Average pools of bytes in whole words: chosen with the DSP extension; the same function up to the largest sums."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from plinio_deploy.codegen.ops.avg_pool_words import MOST
from tests.codegen.harness import check_networks, kernel_names
from tests.networks import Builder

pytestmark = pytest.mark.host


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    ("shape", "window", "stride"),
    [((8, 8, 64), (8, 8), (1, 1)), ((5, 4, 4), (2, 3), (2, 1)), ((1, 1, 12), (1, 1), (1, 1))],
)
def test_same_as_the_interpreter(
    shape: tuple[int, int, int], window: tuple[int, int], stride: tuple[int, int], signed: bool, tmp_path: Path
) -> None:
    b = Builder(7)
    b.avg_pool(b.input(shape, b.quantizer(8, signed)), window, stride)
    case = check_networks([b.build()], tmp_path, samples=8, isa=("dsp",))[0]
    assert kernel_names(case) == ["avg_pool_words"]


def test_windows_whose_sums_leave_a_half_word_are_left_to_others(tmp_path: Path) -> None:
    side = int(np.ceil(np.sqrt(MOST + 1)))
    b = Builder(2)
    b.avg_pool(b.input((side, side, 4)), (side, side))
    assert kernel_names(check_networks([b.build()], tmp_path, isa=("dsp",))[0]) != ["avg_pool_words"]
