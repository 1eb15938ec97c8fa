# SPDX-License-Identifier: Apache-2.0
"""What other costs say about a layer: operations, and the formulas that PLiNIO publishes for MPIC and GAP8."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from plinio_deploy.targets.calibration.features import feature
from plinio_deploy.targets.calibration.geometry import Geometry


def _ops(at: Geometry) -> float:
    return 0.0 if at.w_bits is None else float(feature("macs", at))


def _formula(name: str, at: Geometry) -> float:
    """One of `search.cost` on a layer with weights; 0 for others, which PLiNIO does not count."""
    from torch import nn

    from plinio_deploy.search import cost

    if at.w_bits is None:
        return 0.0
    spec: dict[str, Any] = {"w_precision": at.w_bits, "in_precision": at.a_bits, "bias": True}
    kind: type[nn.Module] = nn.Linear
    if at.op == "linear":
        spec |= {"in_features": at.cin, "out_features": at.cout, "output_shape": (1, at.cout)}
    else:
        kind = nn.Conv2d
        groups = at.cout if at.op == "depthwise" else at.groups
        spec |= {"in_channels": at.cout if at.op == "depthwise" else at.cin, "out_channels": at.cout, "groups": groups}
        spec |= {"kernel_size": at.kernel, "output_shape": (1, at.cout, *at.output)}
    formula = getattr(cost, name).lookup(kind, spec)
    return float(formula(spec)) if formula is not None else 0.0


BASELINES: Mapping[str, Callable[[Geometry], float]] = {
    "ops": _ops,
    "mpic": lambda at: _formula("mpic_latency", at),
    "gap8": lambda at: _formula("gap8_latency", at),
}
"""Cost of one op by name, in units of its own."""
