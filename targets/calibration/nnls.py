# SPDX-License-Identifier: Apache-2.0
"""Least squares with coefficients that are not negative (Lawson and Hanson's active set)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def solve(a: FloatArray, b: FloatArray, ridge: float | FloatArray = 0.0) -> FloatArray:
    """The ``x >= 0`` that minimizes ``|a x - b|^2 + ridge |x|^2``, columns scaled to unit length.

    Args:
        a: ``(rows, columns)``.
        b: ``(rows,)``.
        ridge: keeps coefficients of almost equal columns apart; one number, or one per column.

    Returns:
        ``(columns,)``.
    """
    length = np.linalg.norm(a, axis=0)
    length = np.where(length > 0, length, 1.0)
    scaled = a / length
    gram = scaled.T @ scaled + ridge * np.eye(a.shape[1])
    target = scaled.T @ b
    x = np.zeros(a.shape[1])
    active = np.zeros(a.shape[1], dtype=bool)
    tolerance = 1e-10 * max(1.0, float(np.abs(target).max(initial=0.0)))
    for _ in range(5 * a.shape[1]):
        gradient = np.where(active, -np.inf, target - gram @ x)
        best = int(np.argmax(gradient))
        if gradient[best] <= tolerance:
            break
        active[best] = True
        x = _restore(gram, target, x, active)
    return x / length


def _restore(gram: FloatArray, target: FloatArray, x: FloatArray, active: npt.NDArray[np.bool_]) -> FloatArray:
    """Solve on the active columns; those that would turn negative leave (``active`` is changed)."""
    while True:
        chosen = np.flatnonzero(active)
        trial = np.zeros_like(x)
        trial[chosen] = np.linalg.lstsq(gram[np.ix_(chosen, chosen)], target[chosen], rcond=None)[0]
        if np.all(trial[chosen] > 0):
            return trial
        falling = chosen[trial[chosen] <= 0]
        step = min(float(x[i] / (x[i] - trial[i])) if x[i] > trial[i] else 0.0 for i in falling)
        x = x + step * (trial - x)
        active[[i for i in falling if x[i] <= 1e-14]] = False
        x[~active] = 0.0
