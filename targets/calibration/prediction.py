# SPDX-License-Identifier: Apache-2.0
"""What a table says about an integer network, and how far that is from a measurement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plinio_deploy.errors import UsageError
from plinio_deploy.network import Network, Op
from plinio_deploy.targets.calibration.geometry import Geometry, of_op
from plinio_deploy.targets.luts import Lut


@dataclass(frozen=True)
class Prediction:
    """Cycles or instructions, whichever the table's unit is.

    Attributes:
        total: of one inference.
        layers: by name of the op; reshapes, which run no code, are left out.
    """

    total: float
    layers: Mapping[str, float]


def layer(lut: Lut, network: Network, op: Op) -> float | None:
    """One op of a network; None for ops that run no code.

    Raises:
        UsageError: the table has no row for it.
    """
    parts = parts_of(lut, network, op)
    return sum(float(lut.predict(part)) for part in parts) if parts else None


def parts_of(lut: Lut, network: Network, op: Op) -> tuple[Geometry, ...]:
    """`of_op`, as the kernel that the table takes an op to have packs its channels.

    Raises:
        UsageError: the table has no row for it.
    """
    parts = of_op(network, op)
    if len(parts) < 2:
        return parts
    return of_op(network, op, lut.choose(max(parts, key=lambda part: float(part.cout)))[0].kernel)


def predict(lut: Lut, network: Network) -> Prediction:
    """A whole network.

    Raises:
        UsageError: the table has no row for one of its ops.
    """
    found = {op.name: layer(lut, network, op) for op in network.ops}
    layers = {name: value for name, value in found.items() if value is not None}
    return Prediction(sum(layers.values()) + lut.call * len(layers), layers)


def measured(lut: Lut, measurement: Mapping[str, Any]) -> Prediction:
    """The same numbers out of a ``measurement.json``, in the table's unit.

    Raises:
        UsageError: it is of another target, or has no such numbers.
    """
    total = measurement["total"][lut.unit]
    if measurement["target"] != lut.target or total is None:
        raise UsageError(
            "the measurement cannot be compared with the cost table",
            got=f"target {measurement['target']}, {lut.unit} {total}",
            expected=f"{lut.unit} of {lut.target}",
        )
    layers = {entry["name"]: entry[lut.unit] for entry in measurement["layers"] if entry[lut.unit] is not None}
    return Prediction(float(total), layers)


def deviation(lut: Lut, network: Network, measurement: Mapping[str, Any]) -> float:
    """Predicted over measured total, minus 1."""
    return predict(lut, network).total / measured(lut, measurement).total - 1
