# SPDX-License-Identifier: Apache-2.0
"""Matrix products: widths, odd lengths, many runs."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from plinio_deploy.network import Flavour
from tests.codegen.harness import check_networks, kernel_names
from tests.networks import Builder

pytestmark = pytest.mark.host


@pytest.mark.parametrize("flavour", ["hi32", "tflite"])
def test_every_combination_of_widths_and_odd_lengths(flavour: Flavour, tmp_path: Path) -> None:
    b = Builder(1, flavour)
    for bits, out_bits, w_bits in product((2, 4, 8), (2, 4, 8), ((2,), (4,), (8,), (8, 2, 4))):
        x = b.input((int(b.rng.integers(1, 19)),), b.quantizer(bits))
        b.linear(x, 7, w_bits=w_bits, out=b.quantizer(out_bits), relu=bool(b.rng.integers(2)))
    case = check_networks([b.build()], tmp_path, samples=3)[0]
    assert set(kernel_names(case)) == {"linear_plain"}


def test_long_vectors_of_extreme_codes_reach_the_ends_of_the_accumulator(tmp_path: Path) -> None:
    b = Builder(2)
    b.linear(b.input((4000,), (8, False, 0.1, 255)), 3, out=(8, True, 0.1, 0), per_channel=False)
    check_networks([b.build()], tmp_path)
