# SPDX-License-Identifier: Apache-2.0
"""What the physical form leaves over: the logarithm of measured over predicted, interpolated between measured layers.

Interpolation is a Gaussian process with one length scale per attribute, those that make the measurements likeliest;
attributes that do not matter are dropped, so each table says by itself which ones matter on a target.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from plinio_deploy.targets.calibration.attributes import ATTRIBUTES

FloatArray = npt.NDArray[np.float64]

ENOUGH = 800
"""Layers that scales are chosen on; all of them are interpolated between."""

STEPS, RATE = 120, 0.1
"""Of Adam's, on the logarithms of scales and variances."""

SPARSE = 0.5
"""What the sum of all scales takes from the log-likelihood: what does not help goes to nothing."""

DROPPED = 0.02
"""Scales below this are none."""

LEAST_NOISE = 1e-7
"""Variance that keeps equal points apart."""

LEAST_SHARE = 1e-5
"""The same as a share of the signal's: with less, weights are so great that what is written of them does not do."""

DIGITS = 10
"""Of a weight. Neighbours' weights nearly cancel, so that what is rounded off of them is multiplied."""

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


def fit(attributes: Sequence[Mapping[str, float]], logs: Sequence[float]) -> Residual:
    """Interpolate.

    Args:
        attributes: of the measured layers, see `attributes`.
        logs: logarithm of measured over predicted of each.
    """
    names = [name for name in ATTRIBUTES if len({entry[name] for entry in attributes}) > 1]
    x = np.array([[_short(entry[name]) for name in names] for entry in attributes])
    x = x.reshape(len(attributes), len(names))
    r = np.array(logs, dtype=np.float64)
    if len(r) < 4 or float(np.abs(r).max()) < 1e-4:
        return Residual({}, 0.0, 0.0, np.zeros((0, 0)), np.zeros(0))
    some = np.random.default_rng(0).permutation(len(r))[:ENOUGH]
    best = np.exp(_likeliest(x[some], r[some]))
    kept = [index for index in range(len(names)) if best[index] > DROPPED]
    scales = {names[index]: _short(best[index]) for index in kept}
    signal = _short(best[-2])
    model = Residual(scales, signal, _short(max(best[-1], LEAST_SHARE * signal)), x[:, kept], r)
    weights = np.linalg.solve(covariance(model, model.points), r)
    written: FloatArray = np.array([_short(weight, DIGITS) for weight in weights])
    return Residual(scales, model.signal, model.noise, model.points, written)


def covariance(model: Residual, points: FloatArray) -> FloatArray:
    """Of measurements at points, which have the attributes of ``model.scales``."""
    scaled = points * np.array(list(model.scales.values()))
    square = (scaled**2).sum(axis=1)
    distance = np.maximum(square[:, None] + square[None, :] - 2 * scaled @ scaled.T, 0.0)
    found: FloatArray = model.signal * np.exp(-0.5 * distance) + model.noise * np.eye(len(points))
    return found


def _likeliest(x: FloatArray, r: FloatArray) -> FloatArray:
    """Logarithms of the scales, the signal and the noise that make ``r`` likeliest: Adam from one start."""
    variance = max(float(r.var()), 1e-5)
    theta: FloatArray = np.log(np.array([0.3] * x.shape[1] + [2 * variance, 0.05 * variance]))
    mean, square = np.zeros_like(theta), np.zeros_like(theta)
    best, found = -math.inf, theta
    for step in range(1, STEPS + 1):
        value, gradient = _likelihood(x, r, theta)
        if value > best:
            best, found = value, theta
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.99 * square + 0.01 * gradient**2
        rate = RATE if step < 0.7 * STEPS else RATE / 3
        theta = theta + rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.99**step)) + 1e-8)
        theta[:-2] = np.clip(theta[:-2], -8.0, 3.0)
        theta[-1] = max(theta[-1], np.log(LEAST_NOISE))
    return found


def _likelihood(x: FloatArray, r: FloatArray, theta: FloatArray) -> tuple[float, FloatArray]:
    """Logarithm of the marginal likelihood less the penalty on scales, and its gradient."""
    scales, signal, noise = np.exp(theta[:-2]), float(np.exp(theta[-2])), float(np.exp(theta[-1]))
    scaled = x * scales
    square = (scaled**2).sum(axis=1)
    smooth = signal * np.exp(-0.5 * np.maximum(square[:, None] + square[None, :] - 2 * scaled @ scaled.T, 0.0))
    inverse = np.linalg.inv(smooth + noise * np.eye(len(r)))
    weights = inverse @ r
    outer = np.outer(weights, weights) - inverse
    shared = outer * smooth
    # sum over i, j of shared[i, j] * (x[i] - x[j])^2, for each attribute
    spread = 2 * (x**2).T @ shared.sum(axis=1) - 2 * np.einsum("id,id->d", x, shared @ x)
    gradient = np.concatenate(
        [-0.5 * scales**2 * spread - SPARSE * scales, [0.5 * shared.sum(), 0.5 * noise * np.trace(outer)]]
    )
    value = -0.5 * r @ weights + 0.5 * np.linalg.slogdet(inverse)[1] - SPARSE * scales.sum()
    return float(value), gradient


def _short(value: float, digits: int = 5) -> float:
    return float(f"{value:.{digits}g}")
