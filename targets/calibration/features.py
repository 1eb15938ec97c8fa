# SPDX-License-Identifier: Apache-2.0
"""The counts that a cost form is linear in.

Loops of a kernel run once per layer, row, position, block of channels, tap or product, so each of these is a feature;
where kernels work in blocks (two positions, four channels, four products at once) a feature counts blocks, rounded up.
Every formula takes an op and a division that rounds up: that of plain numbers here, or a search's differentiable one.
`exact` has more counts, which a search sees by way of smooth ones; `counts` says what each of them is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from plinio_deploy.targets.calibration.counts import (
    DIGITS,
    FEATURES,
    GATHERED,
    MIXED,
    ONLY_PLAIN,
    PLAIN,
    PORTABLE,
    SMOOTH,
    THUMB,
    FeatureName,
)
from plinio_deploy.targets.calibration.exact import EXACT
from plinio_deploy.targets.calibration.geometry import Geometry, Number

CeilDiv = Callable[[Number, int], Number]
_Formula = Callable[[Geometry, CeilDiv], Number]


def ceil_div(a: float, n: int) -> float:
    """``ceil(a / n)`` of plain numbers."""
    return float(math.ceil(a / n - 1e-9))


def _pairs(at: Geometry) -> float:
    if at.op == "depthwise":
        return float(at.output[0] * -(-at.output[1] // 2))
    return float(-(-at.positions // 2))


def _words(at: Geometry, ceil: CeilDiv) -> Number:
    """Fours of input elements under one row of taps."""
    return ceil(at.kernel[1] * (at.cin / at.groups), 4)


def _taps(at: Geometry) -> Number:
    return at.kernel[0] * at.kernel[1]


def _clip(at: Geometry) -> float:
    return at.inside[0] * at.inside[1]


def _read(at: Geometry) -> Number:
    """Elements that an op without weights reads, one for each tap or operand."""
    return at.cout * at.positions * (_taps(at) if at.op in ("pool", "max_pool") else at.operands)


def _inputs(at: Geometry) -> Number:
    return _read(at) if at.w_bits is None else at.share * at.cin * (at.source[0] * at.source[1])


def _macs(at: Geometry) -> Number:
    return _read(at) if at.w_bits is None else at.cout * at.depth * at.positions


def _mac_words(at: Geometry, ceil: CeilDiv) -> Number:
    if at.w_bits is None:
        return ceil(at.cin * (at.a_bits / 8), 4) * (at.positions * at.operands) * _taps(at)
    return at.cout * ceil(at.depth, 4) * at.positions


def _row_words(at: Geometry, ceil: CeilDiv) -> Number:
    return ceil(at.cout, 4) * at.kernel[0] * _words(at, ceil) * _pairs(at)


_FORMULAS: Mapping[FeatureName, _Formula] = {
    "layer": lambda at, _: at.share * 1.0,
    "rows": lambda at, _: at.share * at.output[0],
    "positions": lambda at, _: at.share * at.positions,
    "pairs": lambda at, _: at.share * _pairs(at),
    "inputs": lambda at, _: _inputs(at),
    "columns": lambda at, _: at.share * at.cin * _taps(at) * at.positions,
    "taps": lambda at, _: at.share * _taps(at) * (at.positions * _clip(at)),
    "channels": lambda at, _: at.cout * 1.0,
    "weights": lambda at, _: at.cout * at.depth,
    "outputs": lambda at, _: at.cout * at.positions,
    "outputs8": lambda at, _: at.cout * (at.positions * (at.packed == 8)),
    "outputs4": lambda at, _: at.cout * (at.positions * (at.packed == 4)),
    "outputs2": lambda at, _: at.cout * (at.positions * (at.packed == 2)),
    "positions8": lambda at, _: at.share * (at.positions * (at.packed == 8)),
    "positions4": lambda at, _: at.share * (at.positions * (at.packed == 4)),
    "positions2": lambda at, _: at.share * (at.positions * (at.packed == 2)),
    "blocks2": lambda at, ceil: ceil(at.cout, 2) * at.positions,
    "blocks4": lambda at, ceil: ceil(at.cout, 4) * at.positions,
    "pair_blocks2": lambda at, ceil: ceil(at.cout, 2) * _pairs(at),
    "pair_blocks4": lambda at, ceil: ceil(at.cout, 4) * _pairs(at),
    "output_taps": lambda at, _: at.cout * _taps(at) * (at.positions * _clip(at)),
    "output_rows": lambda at, _: at.cout * at.kernel[0] * (at.positions * at.inside[0]),
    "pair_rows": lambda at, _: at.share * at.kernel[0] * _pairs(at),
    "pair_words": lambda at, ceil: at.share * at.kernel[0] * _words(at, ceil) * _pairs(at),
    "block_taps": lambda at, ceil: ceil(at.cout, 4) * _taps(at) * _pairs(at),
    "block_rows": lambda at, ceil: ceil(at.cout, 4) * at.kernel[0] * _pairs(at),
    "macs": lambda at, _: _macs(at),
    "macs_inside": lambda at, _: _macs(at) * _clip(at),
    "mac_words": _mac_words,
    "block_words": lambda at, ceil: ceil(at.cout, 4) * ceil(at.depth, 4) * _pairs(at),
    "block_depth": lambda at, ceil: ceil(at.cout, 4) * at.depth * _pairs(at),
    "row_words": _row_words,
}


def names(at: Geometry, kernel: str) -> tuple[FeatureName, ...]:
    """The features that mean something for an op and the kernel that executes it.

    What kernels of one instruction set count tells nothing about portable C, but with few layers it would seem to.
    """
    if at.w_bits is None:
        return PLAIN
    thumb, plain = "_thumb" in kernel, kernel.endswith("_plain")
    return tuple(
        name
        for name in FEATURES
        if name not in ONLY_PLAIN
        and (thumb or name not in THUMB)
        and (kernel.startswith("gemm_") or name not in GATHERED)
        and (kernel.endswith("_dsp") or name not in DIGITS)
        and (plain or name not in MIXED)
        and (name not in EXACT or name in (*PORTABLE, *MIXED) or (not plain and (not thumb or name in THUMB)))
    )


def feature(name: FeatureName, at: Geometry, ceil: CeilDiv = ceil_div) -> Number:
    """One count of one op.

    Args:
        name: which.
        at: the op; in whole numbers where the count is an exact one.
        ceil: division that rounds up.
    """
    return EXACT[name](at) if name in EXACT else _FORMULAS[name](at, ceil)


def form(coefficients: Mapping[FeatureName, float], at: Geometry) -> float:
    """Sum of coefficient times feature, of an op in whole numbers."""
    return sum(float(feature(name, at)) * coefficient for name, coefficient in coefficients.items())


def shares(coefficients: Mapping[FeatureName, float], at: Geometry) -> dict[str, float]:
    """By what share of itself the form of an op in whole numbers follows each of `AXES`; without those it does not.

    Counts in blocks count as if they were no blocks, and exact ones follow as the smooth ones in their place do.
    """
    here: dict[FeatureName, float] = {name: float(feature(name, at)) * value for name, value in coefficients.items()}
    total, found = sum(here.values()), {}
    for axis, step in AXES.items():
        change = 0.0
        for name, value in here.items():
            formula = _FORMULAS[SMOOTH.get(name, name)]
            before = float(formula(at, _divided))
            change += value * (float(formula(step(at, TWICE), _divided)) / before - 1) if before else 0.0
        if change > 0:
            found[axis] = min(1.0, change / total)
    return found


def _divided(a: Number, n: int) -> Number:
    return a / n


def _channels(at: Geometry, ratio: float) -> Geometry:
    """More input channels; those of a depthwise layer are its groups as well."""
    return replace(at, cin=at.cin * ratio, groups=at.groups * ratio if at.op == "depthwise" else at.groups)


TWICE = 2
"""Smooth counts are linear in each axis, so that doubling one tells how they follow it."""

AXES: Mapping[str, Callable[[Geometry, float], Geometry]] = {
    "cin": _channels,
    "cout": lambda at, ratio: replace(at, cout=at.cout * ratio),
    "share": lambda at, ratio: replace(at, share=at.share * ratio),
    "height": lambda at, ratio: replace(at, kernel=(at.kernel[0] * ratio, at.kernel[1])),
    "width": lambda at, ratio: replace(at, kernel=(at.kernel[0], at.kernel[1] * ratio)),
}
"""What a search changes of an op, by a factor."""

READ: Mapping[str, Callable[[Geometry], Number]] = {
    "cin": lambda at: at.cin,
    "cout": lambda at: at.cout,
    "share": lambda at: at.share,
    "height": lambda at: at.kernel[0],
    "width": lambda at: at.kernel[1],
}
"""The numbers themselves."""
