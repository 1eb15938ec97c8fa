# SPDX-License-Identifier: Apache-2.0
"""Maxima: widths, signs, padding that never wins, dilation."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from tests.codegen.harness import check_networks, kernel_names
from tests.networks import Builder

pytestmark = pytest.mark.host


def test_widths_signs_padding_strides_and_dilation(tmp_path: Path) -> None:
    b = Builder(1)
    for bits, signed, dilation in product((2, 4, 8), (False, True), ((1, 1), (2, 1))):
        x = b.input((6, 5, 3), b.quantizer(bits, signed))
        for padding in ((0, 0, 0, 0), (1, 1, 0, 1)):
            b.max_pool(x, (3, 2), (2, 1), padding, dilation)
    case = check_networks([b.build()], tmp_path, samples=4)[0]
    assert set(kernel_names(case)) == {"max_pool_plain"}


def test_rows_of_one_dimension(tmp_path: Path) -> None:
    b = Builder(2)
    b.max_pool(b.input((1, 12, 4)), (1, 4), (1, 4))
    check_networks([b.build()], tmp_path)
