# SPDX-License-Identifier: Apache-2.0
"""Cycles on GAP8: eight RISC-V cores with 8-bit dot products of four, kernels as PULP-NN writes them.

Formula: the one PLiNIO publishes. Eight cores share the second output axis, and each makes two positions of the first
at once: im2col of both, then blocks of four output channels whose inner loop takes four inputs.

PLiNIO counts a module that is called twice once (``shared=True``); time passes at every call, so here each counts.
"""

from __future__ import annotations

from torch import nn

from plinio_deploy.search.cost.evaluate import Number
from plinio_deploy.search.cost.layer import conv, linear
from plinio_deploy.search.cost.rounding import ceil_div, value
from plinio_deploy.search.cost.spec import Conv2dDW, CostSpec, Spec


def _conv2d(spec: Spec) -> Number:
    layer = conv(spec)
    if value(layer.cout) <= 0:
        return 0.0
    first, second = layer.spatial
    blocks = ceil_div(first, 2) * ceil_div(second, 8)
    column = layer.taps * layer.cin_per_group
    groups = layer.cin if layer.depthwise else layer.groups
    # A group convolution runs once per group, on its share of the output channels.
    cout = layer.cout / groups
    return groups * blocks * (2 * column + ceil_div(cout, 4) * (15 + 14 * ceil_div(column, 4)))


def _depthwise(spec: Spec) -> Number:
    layer = conv(spec)
    return 4 * ceil_div(layer.cout, 4) * layer.positions * layer.taps


def _linear(spec: Spec) -> Number:
    layer = linear(spec)
    # PLiNIO rounds both up, as PULP-NN does: its helper is named floor and is none.
    return ceil_div(layer.cin, 2) * ceil_div(layer.cout, 4) * layer.positions


gap8_latency = CostSpec(shared=False, unit="cycle")
"""Cycles of 2-D convolutions and linear layers."""
gap8_latency[nn.Conv2d] = _conv2d
gap8_latency[Conv2dDW] = _depthwise
gap8_latency[nn.Linear] = _linear
