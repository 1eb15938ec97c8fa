# SPDX-License-Identifier: Apache-2.0
"""The counts that a cost form is linear in.

Loops of a kernel run once per layer, row, position, block of channels, tap or product, so each of these is a feature;
where kernels work in blocks (two positions, four channels, four products at once) a feature counts blocks, rounded up.
Every formula takes an op and a division that rounds up: that of plain numbers here, or a search's differentiable one.
`exact` has more counts, which a search sees by way of smooth ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Literal

from plinio_deploy.targets.calibration.exact import EXACT
from plinio_deploy.targets.calibration.geometry import Geometry, Number

FeatureName = Literal[
    "layer",
    "rows",
    "positions",
    "pairs",
    "inputs",
    "columns",
    "taps",
    "channels",
    "weights",
    "outputs",
    "outputs8",
    "outputs4",
    "outputs2",
    "ragged8",
    "ragged4",
    "ragged2",
    "positions8",
    "positions4",
    "positions2",
    "blocks2",
    "blocks4",
    "pair_blocks2",
    "pair_blocks4",
    "output_taps",
    "output_rows",
    "pair_rows",
    "pair_words",
    "block_taps",
    "block_rows",
    "macs",
    "macs_inside",
    "mac_words",
    "block_words",
    "block_depth",
    "row_words",
    "turns",
    "turn_words",
    "wide_words",
    "patch_words",
    "odd_words",
    "even_words",
    "copied_words",
    "copied_bytes",
    "clipped_rows",
    "scattered_pairs",
    "odd_blocks",
    "calls",
    "eight_blocks",
    "eights",
    "vectors",
    "long_vectors",
    "eight_taps",
    "row_vectors",
    "steps",
    "step_words",
    "step_blocks",
    "step_loads",
    "step_weights",
    "step_products",
    "step_codes",
    "flushes",
    "line_calls",
    "line_channels",
    "line_taps",
    "line_loads",
    "line_codes",
    "line_products",
    "border_copies",
    "window_eights",
    "window_taps",
    "far_taps",
    "ring_rows",
    "ring_vectors",
    "border_codes",
    "border_taps",
]

FEATURES: Mapping[FeatureName, str] = MappingProxyType(
    {
        "layer": "1 for each call of the op",
        "rows": "output rows",
        "positions": "output positions (product of the spatial sizes)",
        "pairs": "pairs of output positions, rounded up; of depthwise layers in each row",
        "inputs": "elements of the inputs",
        "columns": "elements gathered before a dot product: output positions x taps x input channels",
        "taps": "taps inside the input, over all output positions",
        "channels": "output channels",
        "weights": "weights",
        "outputs": "elements written",
        "outputs8": "elements written with 8 bits",
        "outputs4": "elements written with 4 bits",
        "outputs2": "elements written with 2 bits",
        "ragged8": "elements written with 8 bits that come in rows which end within a byte",
        "ragged4": "elements written with 4 bits that come or go in rows which end within a byte",
        "ragged2": "elements written with 2 bits that come or go in rows which end within a byte",
        "positions8": "output positions, their elements with 8 bits",
        "positions4": "output positions, their elements with 4 bits",
        "positions2": "output positions, their elements with 2 bits",
        "blocks2": "positions x pairs of output channels, rounded up",
        "blocks4": "positions x fours of output channels, rounded up",
        "pair_blocks2": "pairs of positions x pairs of output channels",
        "pair_blocks4": "pairs of positions x fours of output channels",
        "output_taps": "elements written x taps inside the input",
        "output_rows": "elements written x rows of taps inside the input",
        "pair_rows": "pairs of positions x rows of taps",
        "pair_words": "pairs of positions x fours of input elements of each row of taps, rounded up",
        "block_taps": "pairs of positions x fours of output channels x taps",
        "block_rows": "pairs of positions x fours of output channels x rows of taps",
        "macs": "multiply-accumulates; for pooling and sums the elements read by windows or operands",
        "macs_inside": "the same without those on padding",
        "mac_words": "elements written x fours of products; without weights, words of the rows that are read",
        "block_words": "pairs of positions x fours of output channels x fours of products, all rounded up",
        "block_depth": "pairs of positions x fours of output channels x products",
        "row_words": "pairs of positions x fours of output channels x fours of products of each row of taps",
        "turns": "turns of the inner loop over a patch, for each pair of positions and four of channels",
        "turn_words": "pairs of 16-bit halves in these turns, those included that only fill the last one",
        "wide_words": "the same of layers whose packed sums would overflow",
        "patch_words": "pairs of positions x pairs of halves of a patch",
        "odd_words": "words of the input that are loaded from an odd address",
        "even_words": "words that are loaded from an even address that is no multiple of 4",
        "copied_words": "words that are copied as such",
        "copied_bytes": "bytes that are copied one by one: the ends of rows, and rows at other addresses",
        "clipped_rows": "pairs of positions x rows of taps where some lie in padding",
        "scattered_pairs": "pairs of positions whose patches do not follow each other",
        "odd_blocks": "pairs of positions of layers whose channels are no multiple of 4",
        "calls": "pairs of positions, for each width of weights anew",
        "eight_blocks": "pairs of positions x eights of channels",
        "eights": "fours of channels x eights of products, of pairs of positions",
        "vectors": "the same with sixteens of products",
        "long_vectors": "the same with as many products as a vector holds weights of 4 or 2 bits",
        "eight_taps": "pairs of positions x eights of channels x taps",
        "row_vectors": "sixteens of codes that patches (of depthwise layers rows) are copied by",
        "steps": "steps of four or eight positions, as many as registers hold sums for",
        "step_words": "positions of all steps x products, rounded up to fours",
        "step_blocks": "steps x fours of channels",
        "step_loads": "positions of all steps x fours of channels x products",
        "step_weights": "steps x weights",
        "step_products": "products of all steps, those of positions that are computed twice included",
        "step_codes": "elements of all steps",
        "flushes": "how often packed sums are taken apart",
        "line_calls": "blocks of up to four pixels of a row, of depthwise layers",
        "line_channels": "the same times channels",
        "line_taps": "the same times channels and taps",
        "line_loads": "elements that these blocks load, for each channel anew",
        "line_codes": "elements of these blocks, those that are computed twice included",
        "line_products": "the same times taps",
        "border_copies": "positions whose window reaches into padding at its sides, times taps",
        "window_eights": "pairs of positions x eights of channels of all widths, of depthwise layers",
        "window_taps": "the same times taps",
        "far_taps": "those of them whose address is computed first",
        "ring_rows": "rows that depthwise layers copy into a ring, padding included",
        "ring_vectors": "sixteens of codes of these rows",
        "border_codes": "elements written whose window reaches into padding at its sides",
        "border_taps": "the same times taps",
    }
)
"""What a coefficient multiplies."""

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

SMOOTH: Mapping[FeatureName, FeatureName] = {
    "ragged8": "outputs",
    "ragged4": "outputs",
    "ragged2": "outputs",
    "turns": "block_depth",
    "turn_words": "block_depth",
    "wide_words": "block_depth",
    "patch_words": "columns",
    "odd_words": "columns",
    "even_words": "columns",
    "copied_words": "inputs",
    "copied_bytes": "inputs",
    "clipped_rows": "pair_rows",
    "scattered_pairs": "pairs",
    "odd_blocks": "pairs",
    "calls": "pairs",
    "eight_blocks": "pair_blocks4",
    "eights": "block_depth",
    "vectors": "block_depth",
    "long_vectors": "block_depth",
    "eight_taps": "block_taps",
    "row_vectors": "columns",
    "steps": "positions",
    "step_words": "columns",
    "step_blocks": "blocks4",
    "step_loads": "block_depth",
    "step_weights": "block_depth",
    "step_products": "macs",
    "step_codes": "outputs",
    "flushes": "block_depth",
    "line_calls": "positions",
    "line_channels": "outputs",
    "line_taps": "macs",
    "line_loads": "macs",
    "line_codes": "outputs",
    "line_products": "macs",
    "border_copies": "taps",
    "window_eights": "outputs",
    "window_taps": "macs",
    "far_taps": "macs",
    "ring_rows": "rows",
    "ring_vectors": "inputs",
    "border_codes": "outputs",
    "border_taps": "macs",
}
"""Instead of each exact count, one that a search can follow."""

ONLY_PLAIN: tuple[FeatureName, ...] = (
    *("outputs8", "ragged8", "ragged4", "ragged2"),
    *("positions8", "positions4", "positions2"),
)
"""Features of ops without weights alone: where nothing is multiplied, what an element costs hangs on its two widths."""

PLAIN: tuple[FeatureName, ...] = (
    *("layer", "rows", "positions", "taps", "inputs", "outputs", "blocks4", "output_rows"),
    *("macs_inside", "mac_words", "copied_words", "copied_bytes", "outputs4", "outputs2"),
    *ONLY_PLAIN,
)
"""Features of ops without weights."""


def names(at: Geometry) -> tuple[FeatureName, ...]:
    """The features that mean something for an op."""
    return PLAIN if at.w_bits is None else tuple(name for name in FEATURES if name not in ONLY_PLAIN)


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
