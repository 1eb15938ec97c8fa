# SPDX-License-Identifier: Apache-2.0
"""Closes the loop of a search on cycles: what it found is measured, and a cost table that is off learns from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plinio_deploy.network import Network
from plinio_deploy.pipeline.calibration import bench
from plinio_deploy.targets import luts
from plinio_deploy.targets.calibration.prediction import predict
from plinio_deploy.targets.calibration.refitting import refit
from plinio_deploy.targets.luts import Lut
from plinio_deploy.targets.schema import Target

BOUND = 0.05
"""Prediction over measurement may differ from 1 by this before the table is refitted."""


@dataclass(frozen=True)
class Checked:
    """A network's cycles (or instructions, whichever the table's unit is) as predicted and as measured.

    Attributes:
        table: that predicted.
        network: integer network that was measured.
        document: of the measurement, as far as `refit` needs it.
        predicted: of one inference.
        measured: of one inference.
    """

    table: Lut
    network: Network
    document: Mapping[str, Any]
    predicted: float
    measured: float

    @property
    def deviation(self) -> float:
        """Predicted over measured, minus 1."""
        return self.predicted / self.measured - 1

    @property
    def is_off(self) -> bool:
        """Whether the table is too far off to be searched on."""
        return abs(self.deviation) > BOUND

    def refitted(self) -> Lut:
        """The table with the network's layers as further points."""
        return refit(self.table, self.network, self.document)


def check(network: Network, target: Target, table: Lut | None) -> Checked | None:
    """Measure a network and compare.

    Args:
        network: what a search found, as integers.
        target: where.
        table: that the search went by; ``None``: the target's own.

    Returns:
        ``None`` where nothing can be counted.

    Raises:
        ToolMissing, BuildFailed, DoesNotFit, DeviceError: see `plinio_deploy.targets`.
    """
    if not target.counts:
        return None
    lut = luts.load(target.name) if table is None else table
    ran = bench.run(network, bench.roomy(target))
    total = ran.cycles if lut.unit == "cycles" else ran.instructions
    if total is None:
        return None
    document = {
        "target": target.name,
        "total": {lut.unit: total},
        "layers": [
            {"name": layer.name, lut.unit: layer.cycles if lut.unit == "cycles" else layer.instructions}
            for layer in ran.layers
        ],
    }
    return Checked(lut, network, document, predict(lut, network).total, float(total))
