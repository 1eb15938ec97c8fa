# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from plinio_deploy import storage
from plinio_deploy.codegen import Options, Schedule
from plinio_deploy.console import Terminal
from plinio_deploy.errors import AccuracyTooLow, OutputError, RecipeError, ToolMissing, UnknownTarget, UsageError
from plinio_deploy.pipeline import generate, line, train
from plinio_deploy.pipeline.candidates import candidates
from plinio_deploy.pipeline.request import Request
from plinio_deploy.pipeline.workspace import Workspace
from plinio_deploy.targets import registry, toolchains
from plinio_deploy.testdata import Metrics, load_test_data
from tests.plinio_deploy.pipeline.test_train import TINY
from tests.plinio_deploy.pipeline.toy_run import toy_workspace
from tests.plinio_deploy.toy import toy, with_op

QUIET = Terminal(-1)


def _request(out: Path, **changes: object) -> Request:
    return dataclasses.replace(Request(Workspace(out), str(TINY), ("host",)), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"targets": ("z80",)}, UnknownTarget),
        ({"prefix": "int"}, UsageError),
        ({"recipe": "nothing"}, RecipeError),
        ({"workspace": Workspace(Path("/dev/null/out"))}, OutputError),
    ],
)
def test_bad_requests_are_found_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], error: type[Exception]
) -> None:
    monkeypatch.setattr(train, "run", lambda *_: pytest.fail("training started"))
    with pytest.raises(error):
        line.run_line(_request(tmp_path / "out", **changes), QUIET)
    assert not (tmp_path / "out").exists()


def test_missing_tool_is_found_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchains, "find", lambda _: None)
    with pytest.raises(ToolMissing):
        line.run_line(_request(tmp_path / "out"), QUIET)
    assert not (tmp_path / "out").exists()


@pytest.mark.host
def test_stages_alone_one_after_the_other(tmp_path: Path) -> None:
    request = _request(tmp_path / "out")
    toy_workspace(request.workspace.out)
    line.generate_only(request, None, QUIET)
    assert not line.build_only(request, QUIET)["host"].kept
    (document,) = line.measure_only(request, QUIET)
    assert document["differing_samples"] == 0
    line.report_only(request, QUIET)
    assert (request.workspace.report.path / "report.html").is_file()


@pytest.mark.host
def test_report_leaves_out_measurements_of_another_network(tmp_path: Path) -> None:
    request = _request(tmp_path / "out")
    toy_workspace(request.workspace.out)
    line.generate_only(request, None, QUIET)
    line.build_only(request, QUIET)
    line.measure_only(request, QUIET)
    other = with_op(toy(), "stem", bias=toy().ops[1].bias + 1)  # type: ignore[union-attr]
    storage.save(other, request.workspace.integerize.path)
    with pytest.raises(UsageError, match="no measurement of this network"):
        line.report_only(request, QUIET)


@pytest.mark.host
def test_low_accuracy_fails_after_the_measurement_is_written(tmp_path: Path) -> None:
    request = _request(tmp_path / "out")
    toy_workspace(request.workspace.out, metrics=Metrics(0.9, 0.9, 0.95, 0.01))
    line.generate_only(request, None, QUIET)
    line.build_only(request, QUIET)
    with pytest.raises(AccuracyTooLow):
        line.measure_only(request, QUIET)
    assert (request.workspace.measure("host").path / "measurement.json").is_file()


def test_each_stage_names_the_one_that_is_missing(tmp_path: Path) -> None:
    request = _request(tmp_path / "out")
    with pytest.raises(UsageError, match="does not hold an integer network"):
        line.generate_only(request, None, QUIET)
    toy_workspace(request.workspace.out)
    with pytest.raises(UsageError, match="does not hold a C project"):
        line.build_only(request, QUIET)
    line.generate_only(request, None, QUIET)
    with pytest.raises(UsageError, match="does not hold firmware for host"):
        line.measure_only(request, QUIET)


def _isa(folder: Path) -> list[str]:
    manifest = json.loads((folder / "project" / "manifest.json").read_text())
    found: list[str] = manifest["options"]["isa"]
    return found


@pytest.mark.host
def test_a_target_takes_the_project_made_for_its_features(tmp_path: Path) -> None:
    request = _request(tmp_path / "out")
    workspace = request.workspace
    toy_workspace(workspace.out)
    line.generate_only(dataclasses.replace(request, targets=("cortex-m4",)), None, QUIET)
    assert _isa(workspace.generate.path) == ["dsp"]
    assert not line.build_only(request, QUIET)["host"].kept
    (document,) = line.measure_only(request, QUIET)  # the twins of the assembly
    assert document["differing_samples"] == document["differing_tensors"] == 0
    network = storage.load(workspace.integerize.path)
    portable = workspace.generate_for(())
    generate.run(portable, network, load_test_data(workspace.integerize.path)[0], Options(), QUIET)
    assert (portable.path.name, _isa(portable.path)) == ("generate-portable", [])
    assert not line.build_only(request, QUIET)["host"].kept
    generate.run(portable, network, load_test_data(workspace.integerize.path)[0], Options(prefix="other"), QUIET)
    assert not line.build_only(request, QUIET)["host"].kept  # another prefix: not of this run


def _like_host(tmp_path: Path, name: str) -> str:
    """The path of a target that is the host by another name."""
    text = registry.files()["host"].read_text(encoding="utf-8")
    path = tmp_path / f"{name}.toml"
    path.write_text(text.replace('name = "host"', f'name = "{name}"'), encoding="utf-8")
    return str(path)


@pytest.mark.host
def test_targets_of_the_same_features_keep_schedules_of_their_own(tmp_path: Path) -> None:
    names = ("host", *(_like_host(tmp_path, name) for name in ("second", "third")))
    request = _request(tmp_path / "out", targets=names, trace_samples=2)
    workspace, targets = toy_workspace(request.workspace.out), tuple(map(registry.load, names))
    network, data = storage.load(workspace.integerize.path), load_test_data(workspace.integerize.path)[0]
    kernels = {layer: able[-1] for layer, able in candidates(network, targets[0]).items()}
    other = Schedule.of(kernels)

    def projects(**schedules: Schedule) -> dict[str, Path]:
        made = line._generate(workspace, targets, network, data, Options(), schedules, QUIET)[1]
        built = line.build_only(request, QUIET)
        for name, folder in made.items():
            assert built[name].inputs["project"] == generate.load_project(folder)[0].digest()
        assert {document["differing_tensors"] for document in line.measure_only(request, QUIET)} == {0}
        return made

    apart = projects(second=other)
    assert len({apart[name] for name in ("host", "second")}) == 2
    assert apart["third"] == apart["host"]
    apart = projects(host=other, second=other)
    assert apart["second"] == apart["host"] != apart["third"]
    line.generate_only(dataclasses.replace(request, targets=(names[2],)), None, QUIET, None)
    with pytest.raises(UsageError, match="firmware for host was built from another C project"):
        line.measure_only(request, QUIET)
    line.build_only(request, QUIET)
    line.measure_only(request, QUIET)
