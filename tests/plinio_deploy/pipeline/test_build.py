# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from plinio_deploy.cli import main
from plinio_deploy.console import Terminal
from plinio_deploy.errors import BuildFailed, OutputError
from plinio_deploy.pipeline import build, generate
from plinio_deploy.pipeline.workspace import Workspace
from plinio_deploy.targets import registry
from tests.plinio_deploy.pipeline.toy_run import toy_workspace

QUIET = Terminal(-1)
pytestmark = pytest.mark.host


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = toy_workspace(tmp_path / "out")
    assert main(["generate", "--out", str(workspace.out), "-q"]) == 0
    return workspace


def _project(workspace: Workspace) -> build.Project:
    return build.Project(*generate.load_project(workspace.generate.path / generate.PROJECT))


def test_builds_once_and_keeps(workspace: Workspace) -> None:
    target = registry.load("host")
    first = build.run(workspace.build("host"), _project(workspace), target, QUIET)
    assert build.run(workspace.build("host"), _project(workspace), target, QUIET).kept
    assert set(first.outputs) == {first.facts["elf"]}, "sources and objects are not part of the result"
    assert first.facts["layers"].keys() == {step.layer for step in _project(workspace).manifest.steps}


def test_other_flags_build_again(workspace: Workspace) -> None:
    target = registry.load("host")
    build.run(workspace.build("host"), _project(workspace), target, QUIET)
    other = target.model_copy(update={"flags": ("-fno-inline",)})
    assert not build.run(workspace.build("host"), _project(workspace), other, QUIET).kept


def test_inputs_come_from_the_manifest(workspace: Workspace) -> None:
    inputs = _project(workspace).inputs
    assert inputs.prefix == "net"
    assert "net.c" in inputs.sources
    assert inputs.arena_bytes == _project(workspace).manifest.arena_bytes
    assert inputs.layers[0].name == "border"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("No space left on device", OutputError),
        ("File size limit exceeded", OutputError),
        ("syntax error", BuildFailed),
    ],
)
def test_full_disk_is_not_blamed_on_the_compiler(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, text: str, kind: type[Exception]
) -> None:
    def fail(*_: object) -> None:
        raise BuildFailed("the compiler refused net.c", got=f"fatal error: {text}")

    monkeypatch.setattr("plinio_deploy.targets.build.build", fail)
    with pytest.raises(kind):
        build.run(workspace.build("host"), _project(workspace), registry.load("host"), QUIET)
    assert not workspace.build("host").path.exists()
