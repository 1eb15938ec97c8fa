# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

from plinio_deploy.pipeline.request import Request, Training
from plinio_deploy.pipeline.workspace import Workspace


def test_defaults_keep_the_recipes_settings_and_run_everything() -> None:
    request = Request(Workspace(Path("out")))
    assert request.training == Training(None, None, None)
    assert (request.samples, request.trace_samples, request.prefix) == (0, 16, "net")
