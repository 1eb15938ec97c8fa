# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from plinio_deploy.cli import main
from plinio_deploy.targets import registry
from tests.plinio_deploy.cli.conftest import RunJson


def test_list(run_json: RunJson, capsys: pytest.CaptureFixture[str]) -> None:
    document = run_json("targets", "list")
    assert [target["name"] for target in document["targets"]] == list(registry.names())
    assert main(["targets", "list"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in registry.names())


def test_show(run_json: RunJson, capsys: pytest.CaptureFixture[str]) -> None:
    target = run_json("targets", "show", "cortex-m4")["target"]
    assert target["memory"]["ram"]["base"] == 0x2000_0000
    assert main(["targets", "show", "cortex-m4"]) == 0
    printed = capsys.readouterr().out
    assert 'name = "cortex-m4"' in printed
    assert "[memory.ram]" in printed, "brackets must not be taken for markup"


def test_show_unknown(run_json: RunJson) -> None:
    assert run_json("targets", "show", "cortex-m5", code=2)["error"]["kind"] == "UnknownTarget"
