# SPDX-License-Identifier: Apache-2.0
"""Weights in memory: how many, and how many bits.

One filter per output channel, each over the input channels of its group: ``Cout * (Cin / groups * K + b)``. A depthwise
or group convolution needs no pattern of its own for that.
"""

from __future__ import annotations

from plinio_deploy.search.cost.evaluate import Number
from plinio_deploy.search.cost.layer import BIAS_BITS, Layer, add_weighted, weight_bits
from plinio_deploy.search.cost.spec import CostSpec, Spec


def _params(layer: Layer, spec: Spec) -> Number:  # noqa: ARG001 - all formulas are called alike
    return layer.weights + layer.biases


def _params_no_bias(layer: Layer, spec: Spec) -> Number:  # noqa: ARG001
    return layer.weights


def _params_bit(layer: Layer, spec: Spec) -> Number:
    return layer.weights * weight_bits(spec)


def _params_bit_bias(layer: Layer, spec: Spec) -> Number:
    return layer.weights * weight_bits(spec) + layer.biases * BIAS_BITS


params = add_weighted(CostSpec(shared=True, unit="param"), _params)
"""Weights and biases of convolutions and linear layers; normalization is folded and counts nothing."""

params_no_bias = add_weighted(CostSpec(shared=True, unit="param"), _params_no_bias)
"""Weights alone."""

params_bit = add_weighted(CostSpec(shared=True, unit="bit"), _params_bit)
"""Bits of the weights, without biases (as PLiNIO counts)."""

params_bit_no_bias = params_bit
"""The same under the name that says so."""

params_bit_bias = add_weighted(CostSpec(shared=True, unit="bit"), _params_bit_bias)
"""Bits of the weights, and 32 for each bias."""
