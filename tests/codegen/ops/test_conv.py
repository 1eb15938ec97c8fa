# SPDX-License-Identifier: Apache-2.0
"""Convolutions: every combination of widths, geometry, padding with and without a zero point."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from plinio_deploy.codegen import registry
from plinio_deploy.network import Flavour
from tests.codegen.harness import check_networks, kernel_names, sites
from tests.networks import Builder, Quantizer

pytestmark = pytest.mark.host

FLAVOURS: tuple[Flavour, ...] = ("hi32", "tflite")


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_every_combination_of_widths(flavour: Flavour, tmp_path: Path) -> None:
    """One per input width and sign, weight width, output width and sign; padded, odd channels."""
    networks = []
    for bits in (2, 4, 8):
        b = Builder(bits, flavour)
        for signed in (False, True):
            x = b.input((3, 3, 3), b.quantizer(bits, signed))
            for w_bits, out_bits, out_signed in product(((2,), (4,), (8,), (8, 2, 4)), (2, 4, 8), (False, True)):
                out = b.quantizer(out_bits, out_signed)
                b.conv(x, 3, (2, 2), padding=(1, 0, 0, 1), w_bits=w_bits, out=out)
        networks.append(b.build())
    check_networks(networks, tmp_path, samples=2)


def test_strides_dilations_groups_and_lopsided_padding(tmp_path: Path) -> None:
    b = Builder(1)
    for zero_point in (0, 7):
        x = b.input((7, 6, 4), (8, False, 0.05, zero_point))
        for stride, dilation, groups in product(((1, 1), (2, 3)), ((1, 1), (2, 1)), (1, 2)):
            for padding in ((0, 0, 0, 0), (1, 2, 0, 1)):
                b.conv(x, 4, (3, 2), stride=stride, dilation=dilation, groups=groups, padding=padding)
    check_networks([b.build()], tmp_path)


def test_windows_that_lie_in_the_padding_alone(tmp_path: Path) -> None:
    b = Builder(6)
    q = (8, True, 0.05, 9)
    for source in (q, (4, False, 0.05, 0)):
        x = b.input((3, 1, 2), source)
        for padding in ((4, 4, 3, 3), (4, 0, 0, 3), (0, 5, 2, 2)):
            b.conv(x, 3, (2, 2), padding=padding, out=q)
    check_networks([b.build()], tmp_path)


def test_one_multiplier_for_all_channels_and_extreme_scales(tmp_path: Path) -> None:
    networks = []
    for flavour, gain in product(FLAVOURS, (0.2, 1.0, 30.0)):
        b = Builder(7, flavour)
        b.conv(b.input((3, 3, 4)), 5, gain=gain, per_channel=False)
        b.conv(b.input((3, 3, 1), (2, False, 0.1, 0)), 5, (1, 1), gain=gain, w_bits=(2,))
        networks.append(b.build())
    check_networks(networks, tmp_path, samples=6)


@pytest.mark.parametrize(
    ("zero_point", "padding", "has_pad"), [(0, (1, 1, 1, 1), False), (5, (1, 1, 1, 1), True), (5, (0, 0, 0, 0), False)]
)
def test_a_pixel_of_zero_points_is_stored_only_where_it_is_read(
    zero_point: int, padding: tuple[int, int, int, int], has_pad: bool
) -> None:
    b = Builder(0)
    quantizer: Quantizer = (8, True, 0.1, zero_point)
    b.conv(b.input((4, 4, 2), quantizer), 3, padding=padding)
    site = sites(b.build())[0]
    arrays = {array.suffix: array for array in registry.choose(site).arrays(site)}
    assert ("_pad" in arrays) == has_pad
    if has_pad:
        assert (arrays["_pad"].ctype, arrays["_pad"].values) == ("int8_t", (5, 5))


def test_a_convolution_costs_more_the_shorter_its_inner_loop() -> None:
    b = Builder(0)
    b.conv(b.input((8, 8, 16)), 4, (1, 1))
    b.conv(b.input((8, 8, 1)), 4, (4, 4), padding=(1, 2, 1, 2))
    deep, shallow = sites(b.build())
    assert deep.macs == shallow.macs
    assert registry.choose(deep).cost(deep) < registry.choose(shallow).cost(shallow)


def test_grouped_convolutions_are_dense_ones_with_an_offset(tmp_path: Path) -> None:
    b = Builder(2)
    b.conv(b.input((4, 4, 6), (4, True, 0.3, 1)), 9, (2, 2), groups=3, w_bits=(4, 8))
    assert kernel_names(check_networks([b.build()], tmp_path)[0]) == ["conv_plain"]
