# SPDX-License-Identifier: Apache-2.0
"""Cycles on NE16, the convolution accelerator of GAP9: 3x3 and 1x1 engines, weights of 2 to 8 bits taken bit by bit.

Formula: the one PLiNIO publishes, after the accelerator's open model (pulp-platform/ne16, GVSoC). Outputs are made in
tiles of 3 x 3 positions and 32 channels (16 for depthwise) from 16 input channels at a time. Larger kernels are sums of
3x3 and 1x1 pieces. Inputs have 8 bits.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from plinio_deploy.search.cost.evaluate import Number
from plinio_deploy.search.cost.layer import Layer, conv, input_bits, linear, one_of, seen_as, weight_bits
from plinio_deploy.search.cost.rounding import ceil_div, floor_div, value
from plinio_deploy.search.cost.spec import Conv2dDW, CostSpec, Spec

TILE_IN, TILE_OUT, TILE_OUT_DEPTHWISE, TILE_SIDE = 16, 32, 16, 3

WEIGHT_OFFSET = 6
MATVEC = 6
UPDATE = 2
NORMQUANT = 9
STREAM_OUT = 13


@dataclass(frozen=True)
class _Engine:
    """One way the array works: cycles to load an input tile, weight bits that take a cycle each per output channel."""

    load: int
    serial_bits: float
    depthwise: bool = False

    def tile(self, channels: Number, input_tiles: Number) -> Number:
        """Cycles of one tile of ``channels`` outputs."""
        offset = WEIGHT_OFFSET + (channels if self.depthwise else 0.0)
        accumulate = self.load + offset + MATVEC + channels * self.serial_bits + UPDATE
        return accumulate * (1.0 if self.depthwise else input_tiles) + NORMQUANT + channels + STREAM_OUT

    def cycles(self, layer: Layer) -> Number:
        """Cycles of all tiles of a layer; 0 without output channels."""
        width = TILE_OUT_DEPTHWISE if self.depthwise else TILE_OUT
        input_tiles = ceil_div(layer.cin_per_group, TILE_IN)
        full = floor_div(layer.cout, width)
        rest = layer.cout - full * width
        cycles = full * self.tile(float(width), input_tiles)
        if value(rest) > 0:
            cycles = cycles + self.tile(rest, input_tiles)
        height, wide = layer.spatial
        return cycles * ceil_div(height, TILE_SIDE) * ceil_div(wide, TILE_SIDE)


def _dense(layer: Layer, spec: Spec) -> Number:
    one_of("activation width", input_bits(spec), (8,))
    bits = value(weight_bits(spec))
    if bits == 0 or value(layer.cout) <= 0:
        return 0.0
    # Channels of different groups share no inputs: each group is a layer of its own.
    groups = layer.cin if layer.depthwise else layer.groups
    piece = Layer(layer.cin_per_group, layer.cout / groups, 1, False, layer.kernel, layer.spatial, layer.bias)
    kx, ky = (int(value(size)) for size in layer.kernel)
    threes = (kx // 3) * (ky // 3)
    ones = (kx % 3) * ky + (ky % 3) * kx - (kx % 3) * (ky % 3)
    total: Number = 0.0
    if threes:
        total = total + threes * _Engine(31, bits).cycles(piece)
    if ones:
        # The 1x1 engine takes all bits of a weight at once.
        total = total + ones * _Engine(19, 1.0).cycles(piece)
    return total * groups


def _depthwise(spec: Spec) -> Number:
    layer = conv(spec)
    if tuple(layer.kernel) != (3, 3):
        return _dense(layer, spec)
    one_of("activation width", input_bits(spec), (8,))
    bits = value(weight_bits(spec))
    if bits == 0 or value(layer.cout) <= 0:
        return 0.0
    return _Engine(31, bits, depthwise=True).cycles(layer)


def _linear(spec: Spec) -> Number:
    layer = linear(spec)
    as_conv = Layer(layer.cin, layer.cout, 1, False, (1.0, 1.0), (layer.positions, 1), layer.bias)
    return _dense(as_conv, spec)


ne16_latency = CostSpec(shared=False, unit="cycle")
"""Cycles of 2-D convolutions and linear layers."""
ne16_latency[nn.Conv2d] = seen_as(conv, _dense)
ne16_latency[Conv2dDW] = _depthwise
ne16_latency[nn.Linear] = _linear
