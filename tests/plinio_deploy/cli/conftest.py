# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plinio_deploy.cli import main
from tests.plinio_deploy.pipeline.toy_run import toy_workspace

RunJson = Callable[..., dict[str, Any]]


@pytest.fixture
def run_json(capsys: pytest.CaptureFixture[str]) -> RunJson:
    """Runs a command with --json, checks that stdout is that one document, and returns it."""

    def run(*words: str, code: int = 0) -> dict[str, Any]:
        capsys.readouterr()
        assert main([*words, "--json"]) == code
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    return run


@pytest.fixture
def toy_out(tmp_path: Path) -> Path:
    """A run's folder with the toy network in it."""
    return toy_workspace(tmp_path / "out").out
