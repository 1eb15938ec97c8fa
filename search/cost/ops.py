# SPDX-License-Identifier: Apache-2.0
"""Operations of one inference: multiply-accumulates, bit operations, and everything else that computes."""

from __future__ import annotations

from plinio_deploy.search.cost.evaluate import Number
from plinio_deploy.search.cost.layer import Layer, add_weighted, input_bits, output_positions, product, weight_bits
from plinio_deploy.search.cost.spec import Add, CostSpec, Mul, Pool, Requantize, Spec


def _ops(layer: Layer, spec: Spec) -> Number:
    return layer.weights * layer.positions + layer.biases * output_positions(spec)


def _ops_no_bias(layer: Layer, spec: Spec) -> Number:  # noqa: ARG001 - all formulas are called alike
    return layer.weights * layer.positions


def _ops_bit(layer: Layer, spec: Spec) -> Number:
    return layer.weights * layer.positions * weight_bits(spec) * input_bits(spec)


def _ops_all(layer: Layer, spec: Spec) -> Number:
    # One requantization, a multiplication, for each output.
    return _ops(layer, spec) + layer.cout * output_positions(spec)


def _elements(spec: Spec) -> Number:
    count: Number = spec["elements"]
    return count


def _pool(spec: Spec) -> Number:
    return _elements(spec) * product(spec["kernel_size"])


def _add(spec: Spec) -> Number:
    # Each input is brought to the scale of the output, then summed.
    return _elements(spec) * (2 * int(spec.get("inputs", 2)) - 1)


def _mul(spec: Spec) -> Number:
    return 2 * _elements(spec)


ops = add_weighted(CostSpec(shared=False, unit="op"), _ops)
"""Multiply-accumulates, and one more operation for each addition of a bias (as PLiNIO counts)."""

ops_no_bias = add_weighted(CostSpec(shared=False, unit="op"), _ops_no_bias)
"""Multiply-accumulates alone."""

ops_bit = add_weighted(CostSpec(shared=False), _ops_bit)
"""Multiply-accumulates times weight bits times input bits."""

ops_bit_no_bias = ops_bit
"""The same under the name that says so: biases count nothing in it."""

ops_all = add_weighted(CostSpec(shared=False, unit="op"), _ops_all)
"""`ops`, and what PLiNIO leaves out: requantization of every output, elementwise sums and products, pooling."""
ops_all[Add] = _add
ops_all[Mul] = _mul
ops_all[Pool] = _pool
ops_all[Requantize] = _elements
