# SPDX-License-Identifier: Apache-2.0
"""Cycles and energy on a target, from its calibrated table (`plinio_deploy.targets.luts`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

from torch import nn

from plinio_deploy.errors import UsageError
from plinio_deploy.search.cost.evaluate import Number
from plinio_deploy.search.cost.layer import (
    CONVOLUTIONS,
    TRANSPOSED,
    Layer,
    conv,
    conv_transpose,
    input_bits,
    linear,
    one_of,
    output_positions,
    product,
    seen_as,
    weight_bits,
)
from plinio_deploy.search.cost.spec import Add, Copy, CostSpec, Mul, Pool, Requantize, Spec
from plinio_deploy.targets.luts import FeatureName, Lut, OpName, load

_OPS: Mapping[type, OpName] = {Add: "add", Mul: "mul", Pool: "pool", Requantize: "requantize", Copy: "copy"}

_JOULE_PER_CYCLE = 1e-9
"""1 mW/MHz is 1e-3 J/s at 1e6 cycles/s."""


def latency(target: str) -> CostSpec:
    """Cycles (or instructions, where the table says so) of one inference on a target.

    Args:
        target: name of a target with a table.

    Raises:
        UnknownTarget: there is no such target.
        UsageError: it has no table; the hint names the command that makes one.
        InvalidTargetFile: its table is damaged.
    """
    table = load(target)
    return from_table(table, unit="cycle" if table.unit == "cycles" else "")


def energy(target: str) -> CostSpec:
    """Joules of one inference on a target: cycles times the published milliwatts per megahertz.

    Raises:
        UsageError: as for `latency`, or the table predicts no cycles, or no figure for its power is published.
    """
    table = load(target)
    if table.milliwatt_per_mhz is None or table.unit != "cycles":
        raise UsageError(
            f"the cost table of {target} cannot give energy",
            got=f"unit {table.unit}, {table.milliwatt_per_mhz} mW/MHz",
            expected="cycles, and a published figure of power",
            hints=[f"Search on cost.latency({target!r}) instead."],
        )
    return from_table(table, scale=table.milliwatt_per_mhz * _JOULE_PER_CYCLE, unit="J")


def from_table(table: Lut, scale: float = 1.0, unit: str = "") -> CostSpec:
    """The cost that a table stands for, times ``scale``, in a unit (see `CostSpec`)."""
    cost = CostSpec(shared=False, unit=unit)
    for kind in CONVOLUTIONS:
        cost[kind] = seen_as(conv, partial(_searched, table, None, scale))
    for transposed in TRANSPOSED:
        cost[transposed] = seen_as(conv_transpose, partial(_searched, table, "conv_transpose", scale))
    cost[nn.Linear] = seen_as(linear, partial(_searched, table, "linear", scale))
    for op, name in _OPS.items():
        cost[op] = partial(_plain, table, name, scale)
    return cost


def _conv_name(layer: Layer) -> OpName:
    if layer.depthwise:
        return "depthwise"
    return "pointwise" if all(float(size) == 1 for size in layer.kernel) and layer.groups == 1 else "conv"


def _searched(table: Lut, op: OpName | None, scale: float, layer: Layer, spec: Spec) -> Number:
    return scale * _weighted(table, op or _conv_name(layer), layer, spec)


def _weighted(table: Lut, op: OpName, layer: Layer, spec: Spec) -> Number:
    bits = one_of("weight width", weight_bits(spec), (0, 2, 4, 8))
    if bits == 0:
        return 0.0
    term = table.term(op, bits, one_of("activation width", input_bits(spec), (2, 4, 8)))
    positions = output_positions(spec)
    features: dict[FeatureName, Number] = {
        "layer": 1.0,
        "positions": float(positions),
        "outputs": layer.cout * positions,
        "inputs": layer.cin * _input_positions(spec),
        "columns": layer.cin * layer.taps * layer.positions,
        "macs": layer.weights * layer.positions,
    }
    return _form(term.coefficients, features)


def _plain(table: Lut, op: OpName, scale: float, spec: Spec) -> Number:
    elements: Number = spec["elements"]
    operands = int(spec.get("inputs", 1))
    shape = spec["output_shape"]
    macs = elements * product(spec["kernel_size"]) if op == "pool" else elements * operands
    features: dict[FeatureName, Number] = {
        "layer": 1.0,
        "positions": float(math.prod(int(size) for size in shape[2:])),
        "outputs": elements,
        "inputs": macs if op == "pool" else elements * operands,
        "columns": 0.0,
        "macs": macs,
    }
    term = table.term(op, None, one_of("activation width", input_bits(spec), (2, 4, 8)))
    return scale * _form(term.coefficients, features)


def _form(coefficients: Mapping[FeatureName, float], features: Mapping[FeatureName, Number]) -> Number:
    total: Number = 0.0
    for name, coefficient in coefficients.items():
        total = total + features[name] * coefficient
    return total


def _input_positions(spec: Spec) -> int:
    shape = spec["input_shape"]
    return math.prod(int(size) for size in (shape[1:-1] if "in_features" in spec else shape[2:]))
