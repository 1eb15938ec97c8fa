# SPDX-License-Identifier: Apache-2.0
"""Stage `report`: everything that was measured, as ``report.html`` and ``report.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plinio_deploy.artifact import write_atomically
from plinio_deploy.codegen import Manifest
from plinio_deploy.console import Terminal
from plinio_deploy.network import Network
from plinio_deploy.pipeline.stage import Record, StageFolder, digest_json, package_digest, perform
from plinio_deploy.report import collect, render

PAGE = "report.html"
DOCUMENT = "report.json"


def run(
    folder: StageFolder,
    network: Network,
    recipe: str,
    training: Mapping[str, Any],
    manifest: Manifest,
    measurements: Sequence[Mapping[str, Any]],
    terminal: Terminal,
) -> Record:
    """Write the report, unless it is there already.

    Args:
        folder: where the stage keeps its result.
        network: the integer network.
        recipe: its name.
        training: facts of the train stage; empty if there was none.
        manifest: of the generated code.
        measurements: one per target, in the order to be shown.
        terminal: told what goes on.
    """
    document = collect(
        network=network, recipe=recipe, training=training, manifest=manifest.model_dump(), measurements=measurements
    )
    inputs = {"document": digest_json(document), "code": package_digest("report", "pipeline/report.py")}

    def make(work: Path) -> Mapping[str, Any]:
        write_atomically(work / DOCUMENT, (json.dumps(document, indent=2) + "\n").encode())
        write_atomically(work / PAGE, render(document).encode())
        return {"targets": [item["target"] for item in measurements]}

    return perform(folder, inputs, terminal, make)
