# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

from plinio_deploy.codegen import generate as generate_c
from plinio_deploy.codegen.manifest import FILE, Manifest
from plinio_deploy.console import Terminal
from plinio_deploy.pipeline import report
from plinio_deploy.pipeline.stage import Record
from plinio_deploy.pipeline.workspace import Workspace
from tests.plinio_deploy.report.samples import measurement
from tests.plinio_deploy.toy import toy


def _run(workspace: Workspace, instructions: int) -> Record:
    network = toy()
    manifest = Manifest.parse(generate_c(network).files[FILE])
    measurements = [measurement("cortex-m4", instructions)]
    return report.run(workspace.report, network, "toy", {}, manifest, measurements, Terminal(-1))


def test_written_again_only_when_a_number_changes(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    _run(workspace, 1000)
    assert _run(workspace, 1000).kept
    assert not _run(workspace, 1001).kept
    document = json.loads((workspace.report.path / report.DOCUMENT).read_text(encoding="utf-8"))
    assert document["measurement"]["total"]["instructions"] == 1001
    assert (workspace.report.path / report.PAGE).is_file()
