# SPDX-License-Identifier: Apache-2.0
"""What tells layers apart beyond counts: sizes on a logarithmic scale, remainders, small loops that a compiler unrolls.

The residual table measures distances between layers in these, and the choice of kernels asks about them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from plinio_deploy.targets.calibration.geometry import Geometry

SHORT = 12
"""Bytes that compilers copy without a call, though addresses may be odd."""


def _log(value: float) -> float:
    return math.log2(max(float(value), 1.0))


def _depth(at: Geometry) -> int:
    return round(float(at.cin) / float(at.groups))


def _row_bytes(at: Geometry) -> int:
    return -(-round(float(at.cin)) * at.a_bits // 8)


ATTRIBUTES: Mapping[str, Callable[[Geometry], float]] = {
    "cin": lambda at: _log(_depth(at)),
    "cin is 1": lambda at: _depth(at) == 1,
    "cin is 2": lambda at: _depth(at) == 2,
    "cin is 3": lambda at: _depth(at) == 3,
    "cin is 4": lambda at: _depth(at) == 4,
    "cin / 2": lambda at: _depth(at) % 2 == 0,
    "cin / 4": lambda at: _depth(at) % 4 == 0,
    "shifted": lambda at: at.shifted,
    "digits": lambda at: at.digits,
    "runs": lambda at: _log(at.runs),
    "depth / 4": lambda at: round(float(at.depth)) % 4 == 0,
    "depth": lambda at: _log(at.depth),
    "row bytes": lambda at: _log(_row_bytes(at)),
    "row bytes / 4": lambda at: _row_bytes(at) % 4 == 0,
    "short rows": lambda at: _row_bytes(at) <= SHORT,
    "whole row bytes": lambda at: round(float(at.cin)) * at.a_bits % 8 == 0,
    "cout": lambda at: _log(at.cout),
    "cout / 2": lambda at: round(float(at.cout)) % 2 == 0,
    "cout / 4": lambda at: round(float(at.cout)) % 4 == 0,
    "fours": lambda at: round(float(at.cout)) % 4 == 0 if at.fours is None else at.fours,
    "grouped": lambda at: float(at.groups) > 1,
    "kernel height": lambda at: _log(at.kernel[0]),
    "kernel width": lambda at: _log(at.kernel[1]),
    "one row of taps": lambda at: round(float(at.kernel[0])) == 1,
    "one column of taps": lambda at: round(float(at.kernel[1])) == 1,
    "three columns of taps": lambda at: round(float(at.kernel[1])) == 3,
    "output height": lambda at: _log(at.output[0]),
    "output width": lambda at: _log(at.output[1]),
    "even output": lambda at: at.output[1] % 2 == 0,
    "one position": lambda at: at.positions == 1,
    "stride": lambda at: at.stride[1] > 1,
    "inside": lambda at: at.inside[0] * at.inside[1],
    "all inside": lambda at: at.inside[0] * at.inside[1] == 1,
    "several widths": lambda at: float(at.share) < 1,
    "share": lambda at: float(at.share),
    "w 4": lambda at: at.w_bits == 4,
    "w 2": lambda at: at.w_bits == 2,
    "a 4": lambda at: at.a_bits == 4,
    "a 2": lambda at: at.a_bits == 2,
    "other 8": lambda at: at.other_bits == 8,
    "other 4": lambda at: at.other_bits == 4,
    "other 2": lambda at: at.other_bits == 2,
    "out 4": lambda at: at.packed == 4,
    "out 2": lambda at: at.packed == 2,
}
"""Number of an op by name; yes and no are 1 and 0. Sizes are whole numbers: between them nothing is measured."""


def attributes(at: Geometry) -> dict[str, float]:
    """All attributes of an op."""
    return {name: float(read(at)) for name, read in ATTRIBUTES.items()}
