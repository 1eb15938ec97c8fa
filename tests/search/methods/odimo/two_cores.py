# SPDX-License-Identifier: Apache-2.0
"""A made-up chip: a fast core of 8-bit weights beside a slow, frugal one that keeps two 4-bit weights in a lane."""

from __future__ import annotations

from plinio_deploy.search.cost.evaluate import Number
from plinio_deploy.search.cost.layer import Layer
from plinio_deploy.search.cost.rounding import present
from plinio_deploy.search.methods.odimo import Accelerator, Platform

START = 50.0
"""Cycles before the slow core begins with a layer."""


def fast_cycles(layer: Layer) -> Number:
    """Two products per cycle."""
    return layer.weights * layer.positions / 2


def slow_cycles(layer: Layer) -> Number:
    """A product per cycle, and its start."""
    share = layer.weights * layer.positions
    return share + START * present(layer.cout) if layer.groups == 1 else 2 * share


FAST = Accelerator("fast", 8, fast_cycles, active_power=24e-3, idle_power=2e-3)
SLOW = Accelerator("slow", 4, slow_cycles, active_power=4e-3, idle_power=1e-3)
TWO_CORES = Platform("two cores", (FAST, SLOW), clock_hz=100e6)
