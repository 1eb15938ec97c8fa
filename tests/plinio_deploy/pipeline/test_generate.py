# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from plinio_deploy import storage
from plinio_deploy.codegen import Options
from plinio_deploy.console import Terminal
from plinio_deploy.errors import UsageError
from plinio_deploy.pipeline import generate
from plinio_deploy.pipeline.stage import Record
from plinio_deploy.pipeline.workspace import Workspace
from plinio_deploy.testdata import load_test_data
from tests.plinio_deploy.pipeline.toy_run import toy_workspace

QUIET = Terminal(-1)


def _generate(workspace: Workspace, prefix: str = "net") -> Record:
    folder = workspace.integerize.path
    data, _ = load_test_data(folder)
    return generate.run(workspace.generate, storage.load(folder), data, Options(prefix=prefix), QUIET)


def test_same_bytes_in_two_folders(tmp_path: Path) -> None:
    records = [_generate(toy_workspace(tmp_path / name)) for name in ("a", "b")]
    assert records[0].to_json() == records[1].to_json()
    assert str(tmp_path) not in records[0].to_json()


def test_kept_until_an_option_changes(tmp_path: Path) -> None:
    workspace = toy_workspace(tmp_path)
    _generate(workspace)
    assert _generate(workspace).kept
    assert not _generate(workspace, "other").kept
    artifact, manifest = generate.load_project(workspace.generate.path / generate.PROJECT)
    assert manifest.prefix == "other"
    assert "net.c" not in artifact.files, "files of the earlier prefix must be gone"


def test_selftest_carries_vectors(tmp_path: Path) -> None:
    workspace = toy_workspace(tmp_path, samples=2)
    _generate(workspace)
    _, manifest = generate.load_project(workspace.generate.path / generate.PROJECT)
    assert manifest.selftest_sources


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_damaged_project(tmp_path: Path, damage: str) -> None:
    workspace = toy_workspace(tmp_path)
    _generate(workspace)
    folder = workspace.generate.path / generate.PROJECT
    path = folder / "manifest.json"
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UsageError):
        generate.load_project(folder)
