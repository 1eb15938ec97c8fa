# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from plinio_deploy import storage
from plinio_deploy.cli import main
from plinio_deploy.console import Terminal
from plinio_deploy.errors import NotBitExact
from plinio_deploy.pipeline import build, generate, measure
from plinio_deploy.pipeline.stage import Record
from plinio_deploy.pipeline.workspace import Workspace
from plinio_deploy.targets import registry
from plinio_deploy.targets.runners.base import RunRequest, RunResult
from plinio_deploy.targets.runners.host import HostRunner
from plinio_deploy.testdata import load_test_data
from tests.plinio_deploy.pipeline.toy_run import toy_workspace

QUIET = Terminal(-1)
pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = toy_workspace(tmp_path_factory.mktemp("run") / "out")
    for words in (["generate"], ["build", "--target", "host"]):
        assert main([*words, "--out", str(workspace.out), "-q"]) == 0
    return workspace


def _bench(workspace: Workspace, trace_samples: int = 4) -> measure.Bench:
    data, metrics = load_test_data(workspace.integerize.path)
    project = build.Project(*generate.load_project(workspace.generate.path / generate.PROJECT))
    return measure.Bench(storage.load(workspace.integerize.path), data, metrics, project, trace_samples)


def _run(workspace: Workspace, bench: measure.Bench) -> Record:
    return measure.run(workspace.measure("host"), bench, registry.load("host"), workspace.build("host"), QUIET)


def test_measures_once_and_keeps(workspace: Workspace) -> None:
    _run(workspace, _bench(workspace))
    assert _run(workspace, _bench(workspace)).kept
    assert not _run(workspace, _bench(workspace, 5)).kept
    document = measure.load_measurement(workspace.measure("host"))
    assert document is not None
    assert document["traced_samples"] == 5
    assert document["total"]["instructions"] is None
    assert document["memory"]["arena_bytes"] >= document["memory"]["arena_bound_bytes"] > 0
    assert [layer["name"] for layer in document["layers"]][:2] == ["border", "stem"]


def test_no_tracing_at_all(workspace: Workspace) -> None:
    _run(workspace, _bench(workspace, 0))
    document = measure.load_measurement(workspace.measure("host"))
    assert document is not None
    assert (document["traced_samples"], document["differing_samples"]) == (0, 0)


def test_no_more_traces_than_samples(workspace: Workspace) -> None:
    assert _bench(workspace, 1000).trace_samples == 20


def test_a_difference_is_written_down_but_not_kept(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = HostRunner.run

    def lie(runner: HostRunner, elf: Path, request: RunRequest) -> RunResult:
        result = honest(runner, elf, request)
        wrong = bytes([result.outputs[0] ^ 1]) + result.outputs[1:]
        return dataclasses.replace(result, outputs=wrong if request.mode == "outputs" else result.outputs)

    folder = workspace.measure("host")
    monkeypatch.setattr(HostRunner, "run", lie)
    with pytest.raises(NotBitExact, match="host computed another integer"):
        _run(workspace, _bench(workspace, 7))
    document = json.loads((folder.path / measure.MEASUREMENT).read_text())
    assert document["differing_samples"] == 1
    monkeypatch.undo()
    assert not _run(workspace, _bench(workspace, 7)).kept


def test_no_measurement_yet(tmp_path: Path) -> None:
    assert measure.load_measurement(Workspace(tmp_path).measure("host")) is None
