# SPDX-License-Identifier: Apache-2.0
"""Calibrated cost tables: ``luts/<target>.json``, read and checked here.

A table holds a linear form per kind of op and pair of widths: ``cycles = sum(coefficient * feature)``. Features are
counts that follow from shapes alone, listed in `FEATURES`; they are linear or multilinear in channels and kernel size,
so that the form is differentiable as it stands. `plinio-deploy calibrate` fits the coefficients to measurements.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from plinio_deploy.errors import InvalidTargetFile, UsageError
from plinio_deploy.targets import registry

FOLDER = Path(__file__).resolve().parent / "luts"

FEATURES: Mapping[str, str] = {
    "layer": "1 for each call of the op",
    "positions": "output positions (product of the spatial sizes)",
    "outputs": "elements written",
    "inputs": "elements of the inputs",
    "columns": "elements gathered before a dot product: output positions x taps x input channels of a group x groups",
    "macs": "multiply-accumulates; for pooling and sums the elements read by windows or operands",
}
"""What a coefficient multiplies."""

OpName = Literal[
    "conv", "pointwise", "depthwise", "linear", "conv_transpose", "add", "mul", "pool", "requantize", "copy"
]
FeatureName = Literal["layer", "positions", "outputs", "inputs", "columns", "macs"]
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
        coefficients: by feature, in the table's unit; features that are left out count nothing.
    """

    op: OpName
    w_bits: Bits | None = None
    a_bits: Bits = 8
    coefficients: dict[FeatureName, Positive]


class LayerErrors(_Table):
    """Relative errors over single layers that the fit never saw."""

    median: Positive
    p95: Positive


class NetworkErrors(_Table):
    """Largest relative error over whole networks that the fit never saw."""

    max: Positive


class Validation(_Table):
    """How far off the table is."""

    layers: LayerErrors
    networks: NetworkErrors | None = None


class Lut(_Table):
    """A calibrated table.

    Attributes:
        schema_: version of this format; 1.
        target: name of the target it was measured on.
        unit: what the form predicts.
        source: where the measurements came from (see DESIGN, section 4).
        terms: at most one row for each op and pair of widths.
        milliwatt_per_mhz: for energy; None where no published figure exists.
        power_source: who published it.
        validation: None for a table that was never checked against points outside the fit.
        tools: names and versions of what measured.
    """

    schema_: Literal[1] = Field(alias="schema")
    target: str
    unit: Literal["cycles", "instructions"]
    source: Literal["rtl", "model", "instructions", "board"]
    terms: Annotated[tuple[Term, ...], Field(min_length=1, strict=False)]
    milliwatt_per_mhz: Annotated[float, Field(gt=0)] | None = None
    power_source: str | None = None
    validation: Validation | None = None
    tools: dict[str, str] = Field(default_factory=dict)

    def term(self, op: OpName, w_bits: int | None, a_bits: int) -> Term:
        """The row for an op; a pointwise convolution falls back on ``conv``.

        Raises:
            UsageError: the table has none.
        """
        rows: dict[tuple[str, int | None, int], Term] = {(row.op, row.w_bits, row.a_bits): row for row in self.terms}
        names: tuple[OpName, ...] = ("pointwise", "conv") if op == "pointwise" else (op,)
        for name in names:
            if (name, w_bits, a_bits) in rows:
                return rows[name, w_bits, a_bits]
        widths = f"{a_bits}-bit activations" if w_bits is None else f"{w_bits}-bit weights, {a_bits}-bit activations"
        raise UsageError(
            f"the cost table of {self.target} has no row for {op} at {widths}",
            expected="one of " + ", ".join(sorted({f"{o} w{w or '-'} a{a}" for o, w, a in rows})),
            hints=[f"Measure it: plinio-deploy calibrate --target {self.target}"],
        )


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
    keys = [(row.op, row.w_bits, row.a_bits) for row in lut.terms]
    twice = sorted({str(key) for key in keys if keys.count(key) > 1})
    if twice:
        raise InvalidTargetFile("a cost table has two rows for one op", where=source, got=", ".join(twice))
    return lut
