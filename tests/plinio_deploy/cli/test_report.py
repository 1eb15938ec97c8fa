# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.plinio_deploy.cli.conftest import RunJson


@pytest.mark.host
def test_report(run_json: RunJson, toy_out: Path) -> None:
    out = ["--out", str(toy_out)]
    run_json("generate", *out)
    run_json("build", "--target", "host", *out)
    run_json("measure", "--target", "host", *out)
    document = run_json("report", *out)
    page = Path(document["report"])
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    report = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))
    assert report["measurement"] == json.loads((toy_out / "measure" / "host" / "measurement.json").read_text())
