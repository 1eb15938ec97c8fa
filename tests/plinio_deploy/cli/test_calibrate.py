# SPDX-License-Identifier: Apache-2.0
"""What the verb says; measuring is tested with the pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plinio_deploy.pipeline.calibration import calibrate
from plinio_deploy.targets import luts
from tests.plinio_deploy.cli.conftest import RunJson


def test_each_target_is_fitted_once_and_its_errors_are_printed(
    run_json: RunJson, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[str, Any]] = []

    def measured(name: str, terminal: Any, out: Path | None) -> luts.Lut:
        del terminal
        asked.append((name, out))
        return luts.load("cortex-m4")

    monkeypatch.setattr(calibrate, "calibrate", measured)
    words = ["--target", "cortex-m4", "--target", "cortex-m4", "--out", str(tmp_path)]
    document = run_json("calibrate", *words)
    assert asked == [("cortex-m4", tmp_path)]
    table = document["tables"]["cortex-m4"]
    assert set(table["validation"]["layers"]) >= {"median", "p95"}
    assert "max" in table["validation"]["networks"]


def test_validation_changes_no_table(run_json: RunJson, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def validated(name: str, terminal: Any) -> luts.Lut:
        del terminal
        asked.append(name)
        return luts.load("cortex-m4")

    monkeypatch.setattr(calibrate, "validate_table", validated)
    run_json("calibrate", "--target", "cortex-m4", "--validate")
    assert asked == ["cortex-m4"]
