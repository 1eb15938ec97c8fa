# SPDX-License-Identifier: Apache-2.0
"""What the physical form leaves over: the logarithm of measured over predicted, interpolated between measured layers.

Interpolation is a Gaussian process with one length scale per attribute; scales that do not help the prediction of left
out layers are dropped, so each table says by itself which attributes matter on a target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from plinio_deploy.targets.calibration.attributes import ATTRIBUTES

FloatArray = npt.NDArray[np.float64]

OUTLIER = 0.3
"""Errors above this count no more than this when scales are chosen."""

ENOUGH = 320
"""Layers that scales are chosen on; all of them are interpolated between."""

ROUNDS = 2
LIMIT = 0.7
"""No correction beyond a factor of ``exp(LIMIT)``: further away something else is wrong."""


@dataclass(frozen=True)
class Residual:
    """The interpolation of one kernel.

    Attributes:
        scales: inverse length scale by attribute; attributes that do not matter are left out.
        signal: variance far from all measured layers.
        points: attributes of the measured layers, in the order of `scales`.
        weights: one for each of them.
        noise: variance of what no attribute explains.
    """

    scales: Mapping[str, float]
    signal: float
    noise: float
    points: FloatArray
    weights: FloatArray

    def at(self, attributes: Mapping[str, float]) -> float:
        """Logarithm of the factor on the form's prediction."""
        if not len(self.weights):
            return 0.0
        scales = np.array(list(self.scales.values()))
        here = np.array([attributes[name] for name in self.scales])
        distance = (((self.points - here) * scales) ** 2).sum(axis=1)
        total = float(self.signal * np.exp(-0.5 * distance) @ self.weights)
        return max(-LIMIT, min(LIMIT, total))


@dataclass
class _Model:
    """Points, what is to be interpolated, and the parameters that are tried out."""

    x: FloatArray
    r: FloatArray
    scales: FloatArray
    signal: float = 0.03
    noise: float = 1e-4

    def covariance(self) -> FloatArray:
        scaled = self.x * self.scales
        square = (scaled**2).sum(axis=1)
        distance = square[:, None] + square[None, :] - 2 * scaled @ scaled.T
        found: FloatArray = self.signal * np.exp(-0.5 * np.maximum(distance, 0.0)) + self.noise * np.eye(len(self.r))
        return found

    def solved(self) -> tuple[float, FloatArray]:
        """Mean error on each point when it is left out, and the weights of all."""
        inverse = np.linalg.inv(self.covariance())
        weights = inverse @ self.r
        errors = np.minimum(np.abs(weights / np.diag(inverse)), OUTLIER)
        return float(errors.mean() + 0.3 * np.sqrt((errors**2).mean())), weights


def fit(attributes: Sequence[Mapping[str, float]], logs: Sequence[float]) -> Residual:
    """Interpolate.

    Args:
        attributes: of the measured layers, see `attributes`.
        logs: logarithm of measured over predicted of each.
    """
    names = [name for name in ATTRIBUTES if len({entry[name] for entry in attributes}) > 1]
    x = np.array([[entry[name] for name in names] for entry in attributes]).reshape(len(attributes), len(names))
    r = np.array(logs, dtype=np.float64)
    if len(r) < 4 or float(np.abs(r).max()) < 1e-4:
        return Residual({}, 0.0, 0.0, np.zeros((0, 0)), np.zeros(0))
    some = np.random.default_rng(0).permutation(len(r))[:ENOUGH]
    model = _Model(x[some], r[some], np.full(len(names), 0.4))
    best, _ = model.solved()
    for _ in range(ROUNDS):
        for index in range(len(names) + 2):
            best = _improved(model, index, best)
    model.x, model.r = x, r
    _, weights = model.solved()
    kept = [index for index, scale in enumerate(model.scales) if scale > 0]
    scales = {names[index]: _short(model.scales[index]) for index in kept}
    return Residual(scales, model.signal, model.noise, x[:, kept], np.array([_short(weight) for weight in weights]))


def _improved(model: _Model, index: int, best: float) -> float:
    """Try other values of one parameter; the model keeps the best one."""
    count = len(model.scales)
    old = (model.scales.copy(), model.signal, model.noise)
    chosen = old
    for factor in (0.0, 0.33, 3.0) if index < count else (0.2, 5.0):
        model.scales, model.signal, model.noise = old[0].copy(), old[1], old[2]
        if index < count:
            model.scales[index] = old[0][index] * factor if old[0][index] else 0.2
        elif index == count:
            model.signal *= factor
        else:
            model.noise *= factor
        found, _ = model.solved()
        if found < 0.999 * best:
            best, chosen = found, (model.scales.copy(), model.signal, model.noise)
    model.scales, model.signal, model.noise = chosen
    return best


def _short(value: float) -> float:
    return float(f"{value:.5g}")
