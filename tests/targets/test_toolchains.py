# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from plinio_deploy.errors import ToolMissing
from plinio_deploy.targets import registry, toolchains


def fake_tool(path: Path, banner: str) -> Path:
    path.write_text(f"#!/bin/sh\necho '{banner}'\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("name", "banner", "version"),
    [
        ("gcc-arm", "arm-none-eabi-gcc (15:12.2.rel1-1) 12.2.1 20221205", "12.2.1"),
        ("gcc-riscv", "riscv64-unknown-elf-gcc () 12.2.0", "12.2.0"),
        ("gcc-host", "gcc (Debian 12.2.0-14+deb12u1) 12.2.0", "12.2.0"),
        ("gcc-host", "gcc (Ubuntu 13.3.0-6ubuntu2~24.04) 13.3.0", "13.3.0"),
        ("qemu-arm", "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)", "7.2.22"),
        ("clang", "Debian clang version 14.0.6", "14.0.6"),
        ("clang", "no number", ""),
    ],
)
def test_versions(name: str, banner: str, version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = toolchains.TOOLS[name]
    monkeypatch.setenv(tool.variable, str(fake_tool(tmp_path / "tool", banner)))
    found = toolchains.require(name)
    assert (found.version, found.banner, found.path) == (version, banner, str(tmp_path / "tool"))


def test_path_is_searched_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = toolchains.TOOLS["gcc-riscv"]
    monkeypatch.delenv(tool.variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert toolchains.find("gcc-riscv") is None
    for candidate in reversed(tool.candidates):
        fake_tool(tmp_path / candidate, "1.2.3")
        found = toolchains.find("gcc-riscv")
        assert found is not None
        assert Path(found.path).name == candidate


def test_a_missing_tool_names_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLINIO_DEPLOY_GCC_ARM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing) as caught:
        toolchains.require("gcc-arm")
    assert "sudo apt-get install gcc-arm-none-eabi" in caught.value.hints
    assert "arm-none-eabi-gcc is not installed" in caught.value.what
    assert caught.value.exit_code == 3


def test_a_variable_that_names_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLINIO_DEPLOY_GCC_HOST", "/nowhere/gcc")
    with pytest.raises(ToolMissing, match="PLINIO_DEPLOY_GCC_HOST names something that cannot be executed") as caught:
        toolchains.require("gcc-host")
    assert caught.value.got == "/nowhere/gcc"


def test_the_survey_has_every_tool_once() -> None:
    survey = toolchains.survey()
    assert [tool.name for tool, _ in survey] == list(toolchains.TOOLS)
    assert len({tool.variable for tool, _ in survey}) == len(survey)


def test_every_target_names_tools_of_the_table() -> None:
    for target in map(registry.load, registry.names()):
        assert target.toolchain in toolchains.TOOLS
        assert target.qemu is None or f"qemu-{target.qemu.system}" in toolchains.TOOLS
