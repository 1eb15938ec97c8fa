# SPDX-License-Identifier: Apache-2.0
"""Instructions per inference of the reference networks, pinned exactly: a change that moves one says so in counts.json.

``PLINIO_DEPLOY_PIN_COUNTS=1 pytest tests/codegen/test_counts.py`` measures every row of the file again and rewrites it.
Counts hold for one compiler version, which the file names. Each network is made once for all its rows.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from benchmarks.kernels import make_network, measure, schedule_of
from plinio_deploy.targets import registry, toolchains

COUNTS = Path(__file__).with_name("counts.json")
PINNED: dict[str, Any] = json.loads(COUNTS.read_text())
PIN = "PLINIO_DEPLOY_PIN_COUNTS" in os.environ
made = cache(make_network)


def label(row: dict[str, Any]) -> str:
    asked = [f"winograd-{row['winograd']}"] if row.get("winograd") else []
    asked += ["adds-along"] if row.get("adds_along") else []
    return "-".join([row["target"], row["network"], f"w{row['w_bits']}a{row['a_bits']}", *asked])


@pytest.mark.qemu
@pytest.mark.parametrize("row", PINNED["rows"], ids=label)
def test_count_is_the_pinned_one(row: dict[str, Any]) -> None:
    target = registry.load(row["target"])
    version = toolchains.require(target.toolchain).version
    widths = (row["w_bits"], row["a_bits"])
    network = made(row["network"], *widths)
    schedule = schedule_of(network, target, row.get("winograd"), adds_along=row.get("adds_along", False))
    measured = measure(row["network"], network, widths, target, trace=False, schedule=schedule)
    assert measured.exact
    if PIN:
        row["instructions"] = measured.instructions
        PINNED["compilers"][target.toolchain] = version
        COUNTS.write_text(json.dumps(PINNED, indent=1) + "\n")
        return
    if version != PINNED["compilers"].get(target.toolchain):
        pytest.skip(
            f"counts are those of {target.toolchain} {PINNED['compilers'].get(target.toolchain)}, not {version}"
        )
    assert measured.instructions == row["instructions"]


def test_every_network_is_pinned_on_both_instruction_sets() -> None:
    found = {(row["target"], row["network"]) for row in PINNED["rows"]}
    networks = ("resnet8", "ds-cnn", "mobilenetv1-025", "autoencoder")
    assert found == {(target, network) for target in ("cortex-m4", "rv32imc") for network in networks}
