# SPDX-License-Identifier: Apache-2.0
"""From measured layers to a table."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np

from plinio_deploy.targets.calibration import nnls, residual
from plinio_deploy.targets.calibration.attributes import attributes
from plinio_deploy.targets.calibration.choice import learn
from plinio_deploy.targets.calibration.features import feature, form, names
from plinio_deploy.targets.calibration.geometry import Geometry
from plinio_deploy.targets.luts import Bits, Choice, FeatureName, LayerErrors, Lut, ResidualTable, Term

COMMON, OWN = 1e-4, 0.1
"""Ridges on what a count costs at every width of weights, and on what it costs more at one of them.

Most of a kernel does the same at every width; where few layers were measured, what one adds must not be made up.
"""

WRITTEN: frozenset[FeatureName] = frozenset({"outputs4", "outputs2"})
"""Counts that cost the same at every width of weights: codes are packed in one way, whatever was multiplied."""

Key = tuple[str, int | None, int, str]
"""Op, widths of weights and activations, kernel."""


@dataclass(frozen=True)
class Point:
    """One measured layer.

    Attributes:
        parts: what it is: the channels of each width of its weights.
        kernel: that executed it.
        value: what it took, above 0.
    """

    parts: tuple[Geometry, ...]
    kernel: str
    value: float

    @property
    def at(self) -> Geometry:
        """The first part; the layer itself where it has one width."""
        return self.parts[0]

    @property
    def keys(self) -> tuple[Key, ...]:
        """The rows that its parts belong to."""
        return tuple((part.op, part.w_bits, part.a_bits, self.kernel) for part in self.parts)

    @property
    def key(self) -> Key:
        """The row of its first part."""
        return self.keys[0]


@dataclass(frozen=True)
class Origin:
    """What a table says about where its numbers come from; see `Lut`."""

    target: str
    unit: Literal["cycles", "instructions"]
    source: Literal["rtl", "model", "instructions", "board"]
    conditions: str | None
    tools: Mapping[str, str]
    kernels: str | None
    call: float
    milliwatt_per_mhz: float | None = None
    power_source: str | None = None


def fit(points: Sequence[Point], choices: Mapping[Geometry, str], origin: Origin) -> Lut:
    """Make a table.

    Args:
        points: what was measured.
        choices: kernels that the code generator chose for layers, measured or not.
        origin: of the numbers.
    """
    rows: dict[tuple[str, int, str], list[Point]] = defaultdict(list)
    for point in points:
        rows[point.at.op, point.at.a_bits, point.kernel].append(point)
    terms = {key: term for members in rows.values() for key, term in _terms(members).items()}
    kernels: dict[str, list[Point]] = defaultdict(list)
    for point in points:
        kernels[point.kernel].append(point)
    residuals = [_residual(kernel, members, terms) for kernel, members in sorted(kernels.items())]
    lut = Lut(
        schema=1,
        target=origin.target,
        unit=origin.unit,
        source=origin.source,
        conditions=origin.conditions,
        terms=tuple(terms[key] for key in sorted(terms, key=str)),
        choices=tuple(_choices(points, choices)),
        residuals=tuple(table for table in residuals if table is not None),
        call=origin.call,
        kernels=origin.kernels,
        milliwatt_per_mhz=origin.milliwatt_per_mhz,
        power_source=origin.power_source,
        tools=dict(origin.tools),
    )
    return lut.model_copy(update={"fit": errors([price(lut, p.parts) / p.value - 1 for p in points])})


def price(lut: Lut, parts: Sequence[Geometry]) -> float:
    """What a table says about a layer, given its parts."""
    return sum(float(lut.predict(part)) for part in parts)


def errors(relative: Sequence[float]) -> LayerErrors:
    """Median and 95th percentile of the sizes of relative errors."""
    sizes = np.abs(np.array(relative, dtype=np.float64))
    return LayerErrors(median=_short(float(np.median(sizes))), p95=_short(float(np.quantile(sizes, 0.95))))


def scaled(values: Sequence[float], measured: Sequence[float]) -> float:
    """The factor on ``values`` that makes their median relative error least."""
    ratios = np.array(measured) / np.maximum(np.array(values), 1e-9)
    tried: Callable[[float], float] = lambda factor: float(np.median(np.abs(factor / ratios - 1)))  # noqa: E731
    return min((float(ratio) for ratio in ratios), key=tried)


def _terms(members: Sequence[Point]) -> dict[Key, Term]:
    """Rows of one op at one width of its input, executed by one kernel: all widths of weights at once.

    A layer of several widths is the sum of its parts, so it is one equation in the coefficients of several rows.
    """
    features = names(members[0].at, members[0].kernel)
    keys = sorted({key for point in members for key in point.keys}, key=str)
    counts = np.zeros((len(members), len(keys), len(features)))
    for row, point in enumerate(members):
        for key, part in zip(point.keys, point.parts, strict=True):
            counts[row, keys.index(key)] = [float(feature(name, part)) for name in features]
    values = np.array([point.value for point in members])
    own = counts * [name not in WRITTEN for name in features]
    columns = np.concatenate([counts.sum(axis=1), own.reshape(len(members), -1)], axis=1)
    ridge = np.repeat([COMMON, OWN], [len(features), len(keys) * len(features)])
    solved = nnls.solve(columns / values[:, None], np.ones(len(values)), ridge).reshape(1 + len(keys), -1)
    found = solved[0] + solved[1:]
    return {
        key: Term(
            op=members[0].at.op,
            kernel=key[3],
            w_bits=cast("Bits | None", key[1]),
            a_bits=cast("Bits", key[2]),
            coefficients={name: _short(value) for name, value in zip(features, values, strict=True) if value > 0},
        )
        for key, values in zip(keys, found, strict=True)
    }


def _residual(kernel: str, members: Sequence[Point], terms: Mapping[Key, Term]) -> ResidualTable | None:
    entries, logs = [], []
    for point in members:
        predicted = [form(terms[key].coefficients, part) for key, part in zip(point.keys, point.parts, strict=True)]
        # A layer of several widths has one measurement: all its parts are off by the same factor.
        log = math.log(point.value / max(sum(predicted), 1.0))
        entries += [attributes(part) for part in point.parts]
        logs += [log] * len(point.parts)
    found = residual.fit(entries, logs)
    if not len(found.weights):
        return None
    return ResidualTable(
        kernel=kernel,
        scales=dict(found.scales),
        signal=found.signal,
        noise=found.noise,
        points=found.points.tolist(),
        weights=found.weights.tolist(),
    )


def _choices(points: Sequence[Point], choices: Mapping[Geometry, str]) -> list[Choice]:
    """One tree for each op and pair of widths, over kernels that were measured there."""
    measured = {key for point in points for key in point.keys}
    cases: dict[tuple[str, int | None, int], list[tuple[Mapping[str, float], str]]] = defaultdict(list)
    known = [(part, point.kernel) for point in points for part in point.parts]
    for at, kernel in (*choices.items(), *known):
        if (at.op, at.w_bits, at.a_bits, kernel) in measured:
            cases[at.op, at.w_bits, at.a_bits].append((attributes(at), kernel))
    return [
        Choice.model_validate({"op": op, "w_bits": w_bits, "a_bits": a_bits, "tree": _listed(learn(found))})
        for (op, w_bits, a_bits), found in sorted(cases.items(), key=str)
    ]


def _listed(tree: object) -> object:
    """Tuples as lists, as JSON has them."""
    return [_listed(part) for part in tree] if isinstance(tree, tuple) else tree


def _short(value: float, digits: int = 5) -> float:
    return float(f"{value:.{digits}g}")
