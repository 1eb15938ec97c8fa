# SPDX-License-Identifier: Apache-2.0
"""Cycles on DIANA: an analog in-memory array (ternary weights, taken as 2 bits) beside a digital array of 16 x 16.

Formula: the one PLiNIO publishes, after Ueyoshi et al., ISSCC 2022. The width of the weights decides where a layer (or
part of one) runs: 2 bits on the analog array, 8 on the digital one; activations have 8.

PLiNIO reads the activation width under a key that its own mixed-precision search never sets, and counts a module that
is called twice once; here the key is ``in_precision`` as everywhere, and every call counts.
"""

from __future__ import annotations

from torch import nn

from plinio_deploy.errors import UsageError
from plinio_deploy.search.cost.evaluate import Number
from plinio_deploy.search.cost.layer import Layer, conv, input_bits, linear, one_of, seen_as, weight_bits
from plinio_deploy.search.cost.rounding import ceil_div, present, value
from plinio_deploy.search.cost.spec import CostSpec, Spec

CLOCK_HZ = 260e6
ANALOG_STEP_S = 70e-9
"""One pass of the analog array."""

ROWS, COLUMNS = 1152, 512
"""Inputs and outputs of the analog array."""

UNROLLS = (1, 2, 4, 8)
"""Output positions that one pass can make side by side."""


def _unroll(layer: Layer) -> int:
    first, second = (value(size) for size in layer.kernel)
    rows = max(64.0, value(layer.cin)) * second
    fits = [u for u in UNROLLS if u * value(layer.cout) <= COLUMNS and (u + first - 1) * rows <= ROWS]
    return max(fits, default=1)


def analog_cycles(layer: Layer) -> Number:
    """Cycles of a layer with 2-bit weights: loading the array, then passes.

    Raises:
        UsageError: a group convolution, which the analog array cannot run.
    """
    if layer.groups != 1:
        raise UsageError(
            "DIANA's analog array runs no group convolution",
            got=f"groups={layer.groups}",
            expected="groups=1",
            hints=["Leave this layer at 8 bits only."],
        )
    load = 8 * layer.cin * layer.taps * present(layer.cout)
    # The number of input tiles has no rounding slope in the published formula; ours has, so that inputs get a gradient.
    passes = ceil_div(layer.cout, COLUMNS) * ceil_div(layer.cin, 128) * layer.positions / _unroll(layer)
    return load + passes * (ANALOG_STEP_S * CLOCK_HZ)


def digital_cycles(layer: Layer) -> Number:
    """Cycles of a layer with 8-bit weights: the array, then moving inputs and outputs."""
    first, second = layer.spatial
    if layer.depthwise:
        per_group = layer.cout / layer.cin if value(layer.cin) > 0 else layer.cout
    else:
        per_group = layer.cout / layer.groups
    compute = ceil_div(per_group, 16) * layer.cin * ceil_div(first, 16) * second * layer.taps
    return compute + present(layer.cout) * (layer.positions * (layer.cout + layer.cin) / 8)


def _cycles(layer: Layer, spec: Spec) -> Number:
    one_of("activation width", input_bits(spec), (8,))
    bits = one_of("weight width", weight_bits(spec), (0, 2, 8))
    if bits == 0:
        return 0.0
    return analog_cycles(layer) if bits == 2 else digital_cycles(layer)


def _linear(spec: Spec) -> Number:
    layer = linear(spec)
    as_conv = Layer(layer.cin, layer.cout, 1, False, (1.0, 1.0), (layer.positions, 1), layer.bias)
    return _cycles(as_conv, spec)


diana_latency = CostSpec(shared=False, unit="cycle")
"""Cycles of 2-D convolutions and linear layers."""
diana_latency[nn.Conv2d] = seen_as(conv, _cycles)
diana_latency[nn.Linear] = _linear
