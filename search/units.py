# SPDX-License-Identifier: Apache-2.0
"""Amounts as people write them (``"64 kB"``, ``"30 %"``, ``"1.5 Mcycles"``) in the unit that a cost counts in."""

from __future__ import annotations

import re

from plinio_deploy.errors import UsageError
from plinio_deploy.search.cost.spec import Cost

PREFIXES = {"": 1.0, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9}
PREFIXES |= {"Ki": 1024.0, "Mi": 1024.0**2}

UNITS = {"b": ("bit", 1.0), "bit": ("bit", 1.0), "bits": ("bit", 1.0)}
UNITS |= dict.fromkeys(("B", "byte", "bytes"), ("bit", 8.0))
UNITS |= dict.fromkeys(("cycle", "cycles"), ("cycle", 1.0))
UNITS |= dict.fromkeys(("MAC", "MACs", "op", "ops"), ("op", 1.0))
UNITS |= dict.fromkeys(("param", "params"), ("param", 1.0))
UNITS |= {"J": ("joule", 1.0), "s": ("second", 1.0), "": ("", 1.0)}
"""Unit -> what it measures, and how much of that thing's base unit it is."""


def unit_of(cost: Cost) -> str | None:
    """The unit a cost counts in, ``None`` if it does not say."""
    return getattr(cost, "unit", "") or None


def parse(amount: float | str, initial: float, unit: str | None) -> float:
    """An amount in a cost's own unit.

    Args:
        amount: a number in that unit, or text: a number and ``%`` (of ``initial``), or a number and a unit with or
            without prefix (``n u m k M G``, ``Ki Mi``).
        initial: the cost at the start.
        unit: what the cost counts in; ``None`` if that is not known.

    Raises:
        UsageError: the text cannot be read, or measures something else than the cost.
    """
    if not isinstance(amount, str):
        return float(amount)
    found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*([A-Za-zµ%]*)\s*", amount)
    if found is None:
        raise UsageError("An amount cannot be read", got=amount, expected="such as 25000, '30 %' or '64 kB'")
    number, suffix = float(found[1]), found[2]
    if suffix == "%":
        return initial * number / 100
    thing, scale = _measure(suffix, amount)
    if thing == "":
        return number * scale
    own, own_scale = UNITS.get(unit or "", ("", 1.0))
    if own != thing:
        raise UsageError(
            "A target measures something else than its cost",
            got=amount,
            expected=f"an amount in {unit}" if unit else "a plain number: the unit of this cost is not known",
            hints=["Give the cost an attribute `unit`, such as 'bit', 'byte', 'cycle' or 'J'."] if unit is None else [],
        )
    return number * scale / own_scale


def _measure(suffix: str, amount: str) -> tuple[str, float]:
    for prefix, factor in PREFIXES.items():
        rest = suffix.removeprefix(prefix)
        if not suffix.startswith(prefix) or rest not in UNITS or (not rest and factor < 1):
            continue  # "3 m" is metres or minutes, not a count
        thing, scale = UNITS[rest]
        return thing, scale * factor
    raise UsageError(
        "An amount has an unknown unit", got=amount, expected="%, bit, B, cycles, MACs, params, J or s, with a prefix"
    )
