# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from plinio_deploy.errors import ToolMissing, UnknownTarget, UsageError
from plinio_deploy.pipeline import preflight
from plinio_deploy.targets import registry, toolchains


def test_targets_once_each_in_the_order_given() -> None:
    path = str(registry.BOARDS / "cortex-m4.toml")
    assert [t.name for t in preflight.load_targets(["rv32imc", "cortex-m4", path])] == ["rv32imc", "cortex-m4"]
    with pytest.raises(UnknownTarget):
        preflight.load_targets(["cortex-m4", "z80"])


@pytest.mark.parametrize("missing", ["gcc-arm", "qemu-arm", "gcc-host"])
def test_each_tool_is_looked_for(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    def find(name: str) -> toolchains.FoundTool | None:
        return None if name == missing else toolchains.FoundTool(toolchains.TOOLS[name], "/bin/true", "1", "")

    monkeypatch.setattr(toolchains, "find", find)
    targets = preflight.load_targets(["cortex-m4"])
    with pytest.raises(ToolMissing):
        preflight.require_tools(targets, measuring=True)
    if missing != "gcc-arm":
        preflight.require_tools(targets, measuring=False)


def test_target_that_can_only_be_built_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        toolchains, "find", lambda name: toolchains.FoundTool(toolchains.TOOLS[name], "/bin/true", "1", "")
    )
    target = registry.load("cortex-m4").model_copy(update={"runner": "none", "qemu": None})
    preflight.require_tools([target], measuring=False)
    with pytest.raises(UsageError, match="nothing here executes"):
        preflight.require_tools([target], measuring=True)
