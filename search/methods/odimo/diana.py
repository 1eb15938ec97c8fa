# SPDX-License-Identifier: Apache-2.0
"""DIANA: a digital array of 8-bit weights beside an analog one of ternary weights (`plinio_deploy.search.cost.diana`).

Its powers are not among the published formulas, so it has a latency and no energy.
"""

from __future__ import annotations

from plinio_deploy.search.cost.diana import CLOCK_HZ, analog_cycles, digital_cycles
from plinio_deploy.search.methods.odimo.platform import Accelerator, Platform

DIGITAL = Accelerator("digital", w_bits=8, cycles=digital_cycles)
ANALOG = Accelerator("analog", w_bits=2, cycles=analog_cycles, ops=frozenset({"conv", "linear"}), narrow=True)
DIANA = Platform("DIANA", (DIGITAL, ANALOG), CLOCK_HZ)
