# SPDX-License-Identifier: Apache-2.0
"""A table that learns from a measured network: its residuals get the network's layers as further points.

The form stays; the interpolation afterwards goes through the new points, and is as it was far from them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from plinio_deploy.network import Network
from plinio_deploy.targets.calibration.attributes import ATTRIBUTES, attributes
from plinio_deploy.targets.calibration.features import form
from plinio_deploy.targets.calibration.geometry import Geometry
from plinio_deploy.targets.calibration.prediction import measured, parts_of
from plinio_deploy.targets.calibration.residual import LEAST_NOISE, Residual, covariance
from plinio_deploy.targets.luts import Lut, ResidualTable

_SCALES = dict.fromkeys(ATTRIBUTES, 0.4)
_SIGNAL, _NOISE = 0.03, 1e-4
"""For a kernel whose form left nothing over so far."""

_Points = list[tuple[Mapping[str, float], float]]


def refit(lut: Lut, network: Network, measurement: Mapping[str, Any]) -> Lut:
    """The table with the layers of a measured network as further points.

    Args:
        lut: the table.
        network: what was measured.
        measurement: its ``measurement.json``.

    Returns:
        A new table; it carries no validation, for it was not validated.

    Raises:
        UsageError: the measurement is of another target, or the table has no row for a layer.
    """
    if not lut.choices:
        return lut
    layers = measured(lut, measurement).layers
    found: dict[str, _Points] = defaultdict(list)
    for op in network.ops:
        parts = parts_of(lut, network, op)
        if parts and layers.get(op.name, 0) > 0:
            for kernel, points in _points(lut, parts, layers[op.name]).items():
                found[kernel] += points
    old = {table.kernel: table for table in lut.residuals}
    merged = {**old, **{kernel: _extended(old.get(kernel), kernel, points) for kernel, points in found.items()}}
    document = lut.model_dump(mode="json", by_alias=True)
    document["residuals"] = [merged[kernel].model_dump() for kernel in sorted(merged)]
    document["validation"] = None
    return Lut.model_validate(document)


def _points(lut: Lut, parts: tuple[Geometry, ...], value: float) -> dict[str, _Points]:
    """Per kernel, attributes of each part and what its form leaves over; all parts are off by one factor."""
    terms = [lut.choose(part)[0] for part in parts]
    total = sum(form(term.coefficients, part) for term, part in zip(terms, parts, strict=True))
    log = math.log(value / max(total, 1.0))
    found: dict[str, _Points] = defaultdict(list)
    for term, part in zip(terms, parts, strict=True):
        if term.kernel is not None:
            found[term.kernel].append((attributes(part), log))
    return found


def _extended(table: ResidualTable | None, kernel: str, points: _Points) -> ResidualTable:
    """A residual table that goes through more points.

    By as much as the old one missed them the old points are no longer believed: new ones win where both are near.
    """
    old = Residual(_SCALES, _SIGNAL, _NOISE, np.zeros((0, len(_SCALES))), np.zeros(0))
    if table is not None and table.weights:
        old = table.interpolation
    new = np.array([[entry[name] for name in old.scales] for entry, _ in points]).reshape(len(points), len(old.scales))
    known = covariance(old, old.points) @ old.weights - old.noise * old.weights
    logs = np.array([log for _, log in points])
    missed = float(np.mean((logs - [old.at(entry) for entry, _ in points]) ** 2))
    signal, noise = max(old.signal, missed), max(old.noise, LEAST_NOISE)
    together = np.concatenate([old.points, new])
    model = Residual(old.scales, signal, noise, together, np.zeros(0))
    doubt = np.diag(np.concatenate([np.full(len(known), missed), np.zeros(len(logs))]))
    weights = np.linalg.solve(covariance(model, together) + doubt, np.concatenate([known, logs]))
    return ResidualTable(
        kernel=kernel,
        scales=dict(old.scales),
        signal=signal,
        noise=noise,
        points=together.tolist(),
        weights=weights.tolist(),
    )
