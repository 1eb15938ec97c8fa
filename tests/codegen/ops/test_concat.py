# SPDX-License-Identifier: Apache-2.0
"""Tensors behind each other: every axis, whole bytes or not."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from plinio_deploy.codegen import registry
from tests.codegen.harness import check_networks, kernel_names, sites
from tests.networks import Builder

pytestmark = pytest.mark.host


def test_every_axis_in_every_width(tmp_path: Path) -> None:
    b = Builder(1)
    for bits, axis in product((2, 4, 8), (0, 1, 2)):
        q = b.quantizer(bits)
        shapes = [[2, 3, 5] for _ in range(3)]
        for index, shape in enumerate(shapes):
            shape[axis] = index + 1
        b.concat([b.input(shape, q) for shape in shapes], axis)
    check_networks([b.build()], tmp_path)


def test_flat_vectors_and_one_tensor_twice(tmp_path: Path) -> None:
    b = Builder(2)
    for bits in (2, 4, 8):
        q = b.quantizer(bits)
        x, y = b.input((5,), q), b.input((4,), q)
        b.concat((x, y, x), 0)
        b.concat((y, x), 0)
    check_networks([b.build()], tmp_path)


def test_bytes_are_copied_where_pieces_start_at_bytes(tmp_path: Path) -> None:
    b = Builder(3)
    q = (4, False, 0.1, 0)
    even, odd = b.input((2, 2, 4), q), b.input((2, 2, 3), q)
    b.concat((even, odd), 2)
    b.concat((odd, even), 2)
    b.concat((odd, odd), 1)
    network = b.build()
    case = check_networks([network], tmp_path)[0]
    assert kernel_names(case) == ["concat_bytes", "concat_lanes", "concat_bytes"]
    assert len(registry.candidates(sites(network)[0])) == 2
