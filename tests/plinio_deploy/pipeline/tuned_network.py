# SPDX-License-Identifier: Apache-2.0
"""A small network with layers that a tuner has choices for."""

from __future__ import annotations

from plinio_deploy.network import Network
from tests.networks import Builder


def network() -> Network:
    """Two convolutions, one with many times the work of the other, and a linear layer that scratch makes no faster."""
    b = Builder(0)
    small = b.conv(b.input((8, 8, 8)), 8, padding=(1, 1, 1, 1))
    large = b.conv(small, 16, padding=(1, 1, 1, 1))
    b.linear(b.flatten(b.conv(large, 4, (8, 8))), 5)
    return b.build()
