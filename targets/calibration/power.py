# SPDX-License-Identifier: Apache-2.0
"""Published power of chips with the cores of our targets, for `cost.energy`.

A target is a core, not a chip: each figure is that of one chip named with it, running CoreMark or Dhrystone, all
peripherals off, at its supply. It includes flash, RAM and regulator, and differs between chips of one core by more than
a factor of four, so that it compares networks on a target, not targets. Cores without an entry have none because no
document with current, voltage and clock was at hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Power:
    """A published figure.

    Attributes:
        milliampere_per_mhz: typical supply current while code runs, over the clock.
        volt: of the supply.
        source: document, table and conditions.
    """

    milliampere_per_mhz: float
    volt: float
    source: str

    @property
    def milliwatt_per_mhz(self) -> float:
        """Milliwatts per megahertz, which are nanojoules per cycle."""
        return self.milliampere_per_mhz * self.volt


POWER: Mapping[str, Power] = {
    "cortex-m0plus": Power(
        0.093,
        3.0,
        "STMicroelectronics STM32L072x8/xB/xZ data sheet (DocID027100 Rev 4), features: down to 93 uA/MHz in run mode; "
        "typical currents at 3.0 V (section 6.3.4)",
    ),
    "cortex-m3": Power(
        9.6 / 32,
        3.6,
        "STMicroelectronics STM32L100C6/R8/RB data sheet (DocID024295 Rev 1), table 15: run mode from flash, range 1, "
        "32 MHz, at 3.6 V",
    ),
    "cortex-m4": Power(
        0.065,
        3.3,
        "Microchip SAM D5x/E5x data sheet, section 55.2: active, CoreMark from flash with the low-power cache, buck "
        "converter, FDPLL at 120 MHz, 3.3 V: typically 65 uA/MHz at 25 C (137 uA/MHz with the linear regulator)",
    ),
    "cortex-m7": Power(
        83 / 300,
        3.3,
        "Microchip PIC32CZ CA70/MC70 data sheet, table 57-6: active, CoreMark from TCM, 300 MHz, 3.3 V",
    ),
    "cortex-m33": Power(
        2.6 / 128,
        3.0,
        "Nordic Semiconductor nRF54L15 data sheet, current consumption, CPU running: IAPPCPU0, CoreMark at 128 MHz "
        "from non-volatile memory, cache on; common conditions: 3 V, 25 C, DC/DC",
    ),
}
"""By target."""
