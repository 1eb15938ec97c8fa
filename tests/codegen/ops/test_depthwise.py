# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolutions: widths, channel multipliers, and the same integers as the dense kernel."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from plinio_deploy.codegen import registry
from plinio_deploy.network import Network
from tests.codegen.harness import check_networks, kernel_names
from tests.networks import Builder

pytestmark = pytest.mark.host


def network(multiplier: int) -> Network:
    b = Builder(multiplier)
    for bits, zero, w_bits in product((2, 4, 8), (True, False), ((8,), (4,), (2, 8, 4))):
        x = b.input((5, 4, 5), b.quantizer(bits, True, zero))
        out = b.quantizer(bits)
        b.conv(x, 5 * multiplier, stride=(2, 1), padding=(1, 1, 0, 2), groups=5, w_bits=w_bits, out=out)
    return b.build()


@pytest.mark.parametrize("multiplier", [1, 2, 3])
def test_widths_and_channel_multipliers(multiplier: int, tmp_path: Path) -> None:
    case = check_networks([network(multiplier)], tmp_path, samples=2)[0]
    assert set(kernel_names(case)) == {"depthwise_plain"}


def test_the_dense_kernel_computes_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = tuple(kernel for kernel in registry.kernels() if kernel.name != "depthwise_plain")
    monkeypatch.setattr(registry, "kernels", lambda: others)
    case = check_networks([network(2)], tmp_path, samples=2)[0]
    assert set(kernel_names(case)) == {"conv_plain"}


def test_windows_that_lie_in_the_padding_alone(tmp_path: Path) -> None:
    b = Builder(3)
    for zero_point in (0, 3):
        x = b.input((3, 1, 2), (4, False, 0.1, zero_point))
        b.conv(x, 2, (2, 2), padding=(4, 4, 3, 3), groups=2)
    check_networks([b.build()], tmp_path)
