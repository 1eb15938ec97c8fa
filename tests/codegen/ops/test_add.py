# SPDX-License-Identifier: Apache-2.0
"""Sums: widths, both flavours, both roundings, and what may be overwritten."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from plinio_deploy.codegen import registry
from plinio_deploy.network import Flavour
from tests.codegen.harness import check_networks, kernel_names, sites
from tests.networks import Builder

pytestmark = pytest.mark.host


@pytest.mark.parametrize("flavour", ["hi32", "tflite"])
def test_every_combination_of_widths(flavour: Flavour, tmp_path: Path) -> None:
    b = Builder(1, flavour)
    for first, second, out in product((2, 4, 8), repeat=3):
        shape = (2, 3, 5)
        x, y = b.input(shape, b.quantizer(first)), b.input(shape, b.quantizer(second))
        b.add(x, y, b.quantizer(out), relu=bool(b.rng.integers(2)))
    case = check_networks([b.build()], tmp_path, samples=4)[0]
    assert set(kernel_names(case)) == {"add_plain" if flavour == "hi32" else "add_tflite"}


@pytest.mark.parametrize("double_rounding", [False, True])
def test_both_roundings_of_tensorflow_lite(double_rounding: bool, tmp_path: Path) -> None:
    b = Builder(5, "tflite")
    b.double_rounding = double_rounding
    x = b.conv(b.input((6, 6, 3)), 8, padding=(1, 1, 1, 1), gain=1.0)
    b.add(b.requantize(x), x)
    check_networks([b.build()], tmp_path, samples=16)


def test_inputs_that_share_the_quantizer_need_no_multiply(tmp_path: Path) -> None:
    b = Builder(2)
    q = (8, True, 0.1, -4)
    b.add(b.input((3, 3, 3), q), b.input((3, 3, 3), q), q)
    case = check_networks([b.build()], tmp_path)[0]
    assert "net_clamp(a + b + 4, -128, 127)" in case.artifact.files["n0_layers.c"].decode().replace("n0_", "net_")


def test_only_inputs_as_wide_as_the_output_may_be_overwritten() -> None:
    b = Builder(3)
    x, y = b.input((2, 2, 3), (4, False, 0.1, 0)), b.input((2, 2, 3), (8, False, 0.1, 0))
    b.add(x, y, (8, True, 0.1, 0))
    b.add(x, x, (4, True, 0.1, 0))
    b.add(x, y, (2, True, 0.1, 0))
    assert [registry.choose(site).in_place(site) for site in sites(b.build())] == [(1,), (0, 1), ()]


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_either_input_is_overwritten_without_harm(bits: int, tmp_path: Path) -> None:
    b = Builder(bits)
    q = b.quantizer(bits)
    for swap in (False, True):
        x = b.input((3, 3, 3), q)
        kept, dying = b.requantize(x, q), b.requantize(x, q)
        total = b.add(*((kept, dying) if swap else (dying, kept)), q)
        b.add(b.max_pool(total, (2, 2)), b.max_pool(kept, (2, 2)), q)
    network = b.build()
    case = check_networks([network], tmp_path)[0]
    offsets = [(step.op, step.offset) for step in case.manifest.steps if step.op in ("add", "requantize")]
    assert offsets[2][1] in (offsets[0][1], offsets[1][1]), "the sum took the place of an input"
