# SPDX-License-Identifier: Apache-2.0
"""Published power of cores, for `cost.energy`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Power:
    """A published figure.

    Attributes:
        milliwatt_per_mhz: of the core alone, without memories.
        source: who published it, and for which process.
    """

    milliwatt_per_mhz: float
    source: str


POWER: Mapping[str, Power] = {}
"""By target."""
