# SPDX-License-Identifier: Apache-2.0
"""Margins of zero points, whole bytes or not."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from plinio_deploy.codegen import registry
from tests.codegen.harness import check_networks, sites
from tests.networks import Builder

pytestmark = pytest.mark.host


def test_widths_channels_and_margins(tmp_path: Path) -> None:
    b = Builder(1)
    for bits, channels, margin in product((2, 4, 8), (1, 3, 4), ((1, 1, 1, 1), (2, 0, 0, 3), (0, 1, 1, 0))):
        b.pad(b.input((2, 3, channels), b.quantizer(bits, None, False)), margin)
    check_networks([b.build()], tmp_path, samples=2)


def test_a_pixel_is_stored_only_if_its_bytes_differ() -> None:
    b = Builder(2)
    b.pad(b.input((2, 2, 3), (4, False, 0.1, 5)), (1, 0, 0, 0))
    b.pad(b.input((2, 2, 4), (4, False, 0.1, 5)), (1, 0, 0, 0))
    b.pad(b.input((2, 2, 3), (4, False, 0.1, 0)), (1, 0, 0, 0))
    arrays = [registry.choose(site).arrays(site) for site in sites(b.build())]
    assert [[array.values for array in found] for found in arrays] == [[(0x55, 0x05)], [], []]
