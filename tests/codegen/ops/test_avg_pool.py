# SPDX-License-Identifier: Apache-2.0
"""Averages: padding counts as the zero point in our flavour, and not at all in TensorFlow Lite's."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from plinio_deploy.network import Flavour
from tests.codegen.harness import check_networks, kernel_names
from tests.networks import Builder

pytestmark = pytest.mark.host


@pytest.mark.parametrize("flavour", ["hi32", "tflite"])
def test_widths_zero_points_padding_and_strides(flavour: Flavour, tmp_path: Path) -> None:
    b = Builder(1, flavour)
    for bits, zero, padding in product((2, 4, 8), (True, False), ((0, 0, 0, 0), (1, 1, 1, 1), (0, 2, 1, 0))):
        x = b.input((6, 5, 3), b.quantizer(bits, None, zero))
        b.avg_pool(x, (3, 2), (2, 1), padding)
    case = check_networks([b.build()], tmp_path, samples=4)[0]
    assert set(kernel_names(case)) == {"avg_pool_plain" if flavour == "hi32" else "avg_pool_tflite"}


@pytest.mark.parametrize("flavour", ["hi32", "tflite"])
def test_the_whole_plane(flavour: Flavour, tmp_path: Path) -> None:
    b = Builder(2, flavour)
    for signed in (False, True):
        b.avg_pool(b.input((7, 7, 5), b.quantizer(8, signed)), (7, 7))
    check_networks([b.build()], tmp_path, samples=4)


def test_windows_that_lie_in_the_padding_alone_average_to_the_zero_point(tmp_path: Path) -> None:
    b = Builder(3)
    for source in ((8, True, 0.05, 9), (4, False, 0.05, 0)):
        x = b.input((3, 1, 2), source)
        for padding in ((4, 4, 3, 3), (4, 0, 0, 3), (0, 5, 2, 2)):
            b.avg_pool(x, (2, 2), padding=padding, out=source)
    check_networks([b.build()], tmp_path)
