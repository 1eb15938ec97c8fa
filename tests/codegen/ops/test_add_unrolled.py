# SPDX-License-Identifier: Apache-2.0
"""Adds of bytes, several elements per turn: chosen with the DSP extension, and the same function."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.codegen.harness import check_networks, kernel_names
from tests.networks import Builder

pytestmark = pytest.mark.host


@pytest.mark.parametrize(("channels", "kernel"), [(8, "add_unrolled"), (3, "add_plain")])
def test_chosen_where_the_elements_divide(channels: int, kernel: str, tmp_path: Path) -> None:
    b = Builder(channels)
    first, second = b.input((2, 3, channels)), b.input((2, 3, channels))
    b.add(first, second, relu=True)
    case = check_networks([b.build()], tmp_path, samples=8, isa=("dsp",))[0]
    assert kernel_names(case) == [kernel]


def test_left_to_others_without_the_extension(tmp_path: Path) -> None:
    b = Builder(1)
    b.add(b.input((2, 2, 8)), b.input((2, 2, 8)))
    assert kernel_names(check_networks([b.build()], tmp_path)[0]) == ["add_plain"]
