# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from tests.plinio_deploy.cli.conftest import RunJson


@pytest.mark.qemu
def test_tune_writes_a_schedule_that_generate_takes(run_json: RunJson, toy_out: Path) -> None:
    document = run_json("tune", "--out", str(toy_out), "--target", "cortex-m4")
    facts = document["targets"]["cortex-m4"]
    assert facts["tuned"]["total"] <= facts["default"]["total"]
    assert facts["schedule"] == str(toy_out / "tune" / "cortex-m4" / "schedule.json")
    run_json("generate", "--out", str(toy_out), "--target", "cortex-m4", "--schedule", facts["schedule"])
    run_json("build", "--out", str(toy_out), "--target", "cortex-m4")
    (measured,) = run_json("measure", "--out", str(toy_out), "--target", "cortex-m4")["measurements"]
    assert measured["differing_samples"] == 0
    assert measured["differing_tensors"] == 0


def test_the_host_counts_nothing_to_tune_for(run_json: RunJson, toy_out: Path) -> None:
    assert "counts neither" in str(run_json("tune", "--out", str(toy_out), "--target", "host", code=2)["error"])
