# SPDX-License-Identifier: Apache-2.0
"""Calibrated cost tables: ``luts/<target>.json``, read and checked here.

A table holds a linear form per kernel and pair of widths: ``cycles = sum(coefficient * feature) * exp(residual)``.
Features are counts that follow from shapes alone (`calibration.features`), so that the form is differentiable in
channels and kernel size; the residual is what is left between measured layers, interpolated (`calibration.residual`).
Which kernel a layer gets is a tree of questions (`calibration.choice`). `plinio-deploy calibrate` makes all of it.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from plinio_deploy.errors import InvalidTargetFile, UsageError
from plinio_deploy.targets import registry
from plinio_deploy.targets.calibration import residual
from plinio_deploy.targets.calibration.attributes import ATTRIBUTES, attributes
from plinio_deploy.targets.calibration.choice import Tree, choose
from plinio_deploy.targets.calibration.counts import FEATURES, FeatureName
from plinio_deploy.targets.calibration.features import READ, form, shares
from plinio_deploy.targets.calibration.geometry import Geometry, OpName, whole_numbers

__all__ = ["FEATURES", "FeatureName", "Lut", "OpName", "Term", "files", "load", "parse"]

FOLDER = Path(__file__).resolve().parent / "luts"

REMEMBERED = 50_000
"""Layers that a table keeps its answers for; a search asks about the same ones again and again."""

Bits = Literal[2, 4, 8]
Positive = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Term(_Table):
    """One row: what one kind of op costs at one pair of widths.

    Attributes:
        op: kind of op. ``pointwise`` is a convolution with one tap, ``depthwise`` one with a channel per group.
        w_bits: bits of the weights; None for ops without.
        a_bits: bits of the input activations.
        kernel: of the generated code; None in a table that knows of one per op.
        coefficients: by feature, in the table's unit; features that are left out count nothing.
    """

    op: OpName
    kernel: str | None = None
    w_bits: Bits | None = None
    a_bits: Bits = 8
    coefficients: dict[FeatureName, Positive]


class Choice(_Table):
    """Which kernel executes an op at one pair of widths.

    Attributes:
        op: kind of op.
        w_bits: as in `Term`.
        a_bits: as in `Term`.
        tree: a kernel's name, or ``[attribute, limit, tree up to the limit, tree above it]``.
    """

    op: OpName
    w_bits: Bits | None = None
    a_bits: Bits = 8
    tree: Any


class ResidualTable(_Table):
    """What the form of one kernel leaves over, see `calibration.residual.Residual`.

    Attributes:
        kernel: of the generated code.
        scales: inverse length scale by attribute.
        signal: variance.
        noise: variance of what no attribute explains.
        points: attributes of the measured layers.
        weights: of the measured layers.
    """

    kernel: str
    scales: dict[str, float]
    signal: float
    noise: float = 1e-4
    points: list[list[float]]
    weights: list[float]

    @cached_property
    def interpolation(self) -> residual.Residual:
        """Ready to be evaluated."""
        points = np.array(self.points, dtype=np.float64).reshape(len(self.weights), len(self.scales))
        return residual.Residual(self.scales, self.signal, self.noise, points, np.array(self.weights))


class LayerErrors(_Table):
    """Relative errors over single layers that the fit never saw."""

    median: Positive
    p95: Positive


class NetworkErrors(_Table):
    """Largest relative error over whole networks that the fit never saw."""

    max: Positive


class Baseline(_Table):
    """The same errors of another cost after its best scaling."""

    layers: LayerErrors
    networks: NetworkErrors | None = None


class Validation(_Table):
    """How far off the table is.

    Attributes:
        layers: over single layers.
        networks: over whole networks.
        count: of layers.
        by_network: signed relative error of each network.
        baselines: what other costs would have said, by name.
    """

    layers: LayerErrors
    networks: NetworkErrors | None = None
    count: int | None = None
    by_network: dict[str, float] = Field(default_factory=dict)
    baselines: dict[str, Baseline] = Field(default_factory=dict)


class Lut(_Table):
    """A calibrated table.

    Attributes:
        schema_: version of this format; 1.
        target: name of the target it was measured on.
        unit: what the form predicts.
        source: where the measurements came from (see DESIGN, section 4).
        conditions: what measurements hold for: the core's configuration, the memory.
        terms: at most one row for each op, pair of widths and kernel.
        choices: which kernel a layer gets; none in a table that knows of one per op.
        residuals: corrections by kernel.
        call: what a network spends between two layers, in the table's unit.
        fit: errors on the layers of the fit itself.
        kernels: digest of the code generator that wrote the measured code.
        milliwatt_per_mhz: for energy, of your own board or chip; None: a published one, see `calibration.power`.
        power_source: where it comes from.
        validation: None for a table that was never checked against points outside the fit.
        tools: names and versions of what measured.
    """

    schema_: Literal[1] = Field(alias="schema")
    target: str
    unit: Literal["cycles", "instructions"]
    source: Literal["rtl", "model", "instructions", "board"]
    conditions: str | None = None
    terms: Annotated[tuple[Term, ...], Field(min_length=1, strict=False)]
    choices: Annotated[tuple[Choice, ...], Field(strict=False)] = ()
    residuals: Annotated[tuple[ResidualTable, ...], Field(strict=False)] = ()
    call: Positive = 0.0
    fit: LayerErrors | None = None
    kernels: str | None = None
    milliwatt_per_mhz: Annotated[float, Field(gt=0)] | None = None
    power_source: str | None = None
    validation: Validation | None = None
    tools: dict[str, str] = Field(default_factory=dict)

    @cached_property
    def _rows(self) -> dict[tuple[OpName, int | None, int, str | None], Term]:
        return {(row.op, row.w_bits, row.a_bits, row.kernel): row for row in self.terms}

    @cached_property
    def _trees(self) -> dict[tuple[OpName, int | None, int], Tree]:
        return {(row.op, row.w_bits, row.a_bits): row.tree for row in self.choices}

    @cached_property
    def _residuals(self) -> dict[str, residual.Residual]:
        return {row.kernel: row.interpolation for row in self.residuals}

    def term(self, op: OpName, w_bits: int | None, a_bits: int, kernel: str | None = None) -> Term:
        """The row for an op; a pointwise convolution falls back on ``conv``, a maximum on ``pool``.

        Raises:
            UsageError: the table has none.
        """
        instead: dict[OpName, OpName] = {"pointwise": "conv", "max_pool": "pool"}
        for name in (op, instead.get(op, op)):
            if (name, w_bits, a_bits, kernel) in self._rows:
                return self._rows[name, w_bits, a_bits, kernel]
        widths = f"{a_bits}-bit activations" if w_bits is None else f"{w_bits}-bit weights, {a_bits}-bit activations"
        raise UsageError(
            f"the cost table of {self.target} has no row for {op} at {widths}",
            expected="one of " + ", ".join(sorted({f"{o} w{w or '-'} a{a}" for o, w, a, _ in self._rows})),
            hints=[f"Measure it: plinio-deploy calibrate --target {self.target}"],
        )

    @cached_property
    def _chosen(self) -> dict[Geometry, tuple[float, tuple[tuple[str, float, float], ...]]]:
        return {}

    def choose(self, at: Geometry) -> tuple[Term, float]:
        """The row for one op, and the factor on what its form says; both without gradient."""
        tree = self._trees.get((at.op, at.w_bits, at.a_bits))
        traits = attributes(at)
        kernel = None if tree is None else choose(tree, traits)
        correction = self._residuals.get(kernel or "")
        factor = 1.0 if correction is None else float(np.exp(correction.at(traits)))
        return self.term(at.op, at.w_bits, at.a_bits, kernel), factor

    def _around(self, at: Geometry) -> tuple[float, tuple[tuple[str, float, float], ...]]:
        """Cost of an op in whole numbers; by axis the number itself and the share of the cost that follows it."""
        if at not in self._chosen:
            if len(self._chosen) >= REMEMBERED:
                self._chosen.clear()
            term, factor = self.choose(at)
            found = shares(term.coefficients, at)
            axes = tuple((axis, float(READ[axis](at)), share) for axis, share in found.items())
            self._chosen[at] = factor * form(term.coefficients, at), axes
        return self._chosen[at]

    def predict(self, at: Geometry) -> float:
        """Cycles or instructions of one op, or of the channels of one width of it, see `slopes`."""
        return self.slopes(at)[0]

    def slopes(self, at: Geometry) -> tuple[float, dict[str, float]]:
        """The same, and how fast it grows with each axis of `features.READ` that it follows.

        Args:
            at: the op, in plain numbers. Between whole ones the cost follows each axis from that of the nearest op that
                can be built.

        Raises:
            UsageError: the table has no row for it.
        """
        total, axes = self._around(whole_numbers(at))
        found: dict[str, float] = {}
        for axis, number, share in axes:
            slope = share / number
            factor = (1 - share) + slope * READ[axis](at)
            found = {other: value * factor for other, value in found.items()}
            found[axis] = total * slope
            total *= factor
        return total, found


def files() -> dict[str, Path]:
    """Table by name of its target: ours, hidden by ``luts/<target>.json`` in folders of `PLINIO_DEPLOY_TARGETS`."""
    found = {path.stem: path for path in FOLDER.glob("*.json")}
    for entry in reversed(os.environ.get(registry.FOLDERS_VARIABLE, "").split(os.pathsep)):
        if entry:
            found.update({path.stem: path for path in (Path(entry).expanduser() / "luts").glob("*.json")})
    return dict(sorted(found.items()))


def load(target: str) -> Lut:
    """The table of a target.

    Raises:
        UnknownTarget: there is no such target.
        UsageError: the target has no table yet.
        InvalidTargetFile: the table is there but wrong.
    """
    registry.load(target)
    known = files()
    if target not in known:
        raise UsageError(
            f"target {target!r} has no calibrated cost table",
            expected=f"targets/luts/{target}.json",
            hints=[
                f"Make one: plinio-deploy calibrate --target {target}",
                "Targets with a table: " + (", ".join(known) or "none yet"),
                "Or search on a cost that needs none: params_bit, ops, peak_ram, flash.",
            ],
        )
    return parse(known[target].read_text(encoding="utf-8"), str(known[target]))


def parse(text: str, source: str) -> Lut:
    """Read and check a table.

    Args:
        text: the file's content.
        source: the file's path, for messages; its stem is the target's name.

    Raises:
        InvalidTargetFile: not JSON, or one or more values are wrong; all of them are listed.
    """
    try:
        lut = Lut.model_validate_json(text)
    except ValidationError as error:
        places = [f"{'.'.join(map(str, item['loc'])) or 'file'}: {item['msg']}" for item in error.errors()]
        raise InvalidTargetFile("a cost table breaks its schema", where=source, got="; ".join(places)) from error
    if lut.target != Path(source).stem:
        raise InvalidTargetFile(
            "a cost table names another target", where=source, got=lut.target, expected=Path(source).stem
        )
    keys = [(row.op, row.w_bits, row.a_bits, *([row.kernel] if row.kernel else [])) for row in lut.terms]
    twice = sorted({str(key) for key in keys if keys.count(key) > 1})
    if twice:
        raise InvalidTargetFile("a cost table has two rows for one op", where=source, got=", ".join(twice))
    _check_parts(lut, source)
    return lut


def _check_parts(lut: Lut, source: str) -> None:
    """Trees and residuals name attributes and kernels that exist."""
    rows = {(row.op, row.w_bits, row.a_bits, row.kernel) for row in lut.terms}
    for choice in lut.choices:
        for kernel in _leaves(choice.tree, source):
            if (choice.op, choice.w_bits, choice.a_bits, kernel) not in rows:
                raise InvalidTargetFile("a cost table chooses a kernel it has no row for", where=source, got=kernel)
    for table in lut.residuals:
        unknown = sorted(set(table.scales) - set(ATTRIBUTES))
        lengths = {len(table.weights), len(table.points)}
        widths = {len(point) for point in table.points} - {len(table.scales)}
        if unknown or len(lengths) > 1 or widths:
            raise InvalidTargetFile(
                "a cost table's residuals do not fit together", where=f"{source}: {table.kernel}", got=unknown or None
            )


def _leaves(tree: Any, source: str) -> set[str]:
    """Kernels of a tree."""
    if isinstance(tree, str):
        return {tree}
    if (
        not isinstance(tree, list)
        or len(tree) != 4
        or tree[0] not in ATTRIBUTES
        or not isinstance(tree[1], int | float)
    ):
        raise InvalidTargetFile("a cost table holds a broken tree", where=source, got=str(tree)[:80])
    return _leaves(tree[2], source) | _leaves(tree[3], source)
