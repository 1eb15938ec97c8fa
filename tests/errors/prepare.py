# SPDX-License-Identifier: Apache-2.0
"""What has to be there before a command fails, one function per case; dashes of the case become underscores."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from plinio_deploy.cli import main
from plinio_deploy.pipeline.generate import PROJECT
from plinio_deploy.pipeline.workspace import Workspace
from plinio_deploy.testdata import Metrics
from tests.plinio_deploy.pipeline.toy_run import toy_workspace

TARGET = """\
name = "small"
description = "a core with very little memory"
isa = "armv7-m"
family = "arm"
toolchain = "gcc-arm"
flags = ["-mcpu=cortex-m3", "-mthumb"]
runner = "none"

[memory]
stack = 256

[memory.flash]
base = 0x0000_0000
size = {flash}

[memory.ram]
base = 0x2000_0000
size = {ram}
"""


def _project(tmp_path: Path) -> Workspace:
    workspace = toy_workspace(tmp_path / "out")
    assert main(["generate", "--out", str(workspace.out), "--quiet"]) == 0
    return workspace


def missing_compiler(_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLINIO_DEPLOY_GCC_ARM", "/nowhere/arm-none-eabi-gcc")


def missing_emulator(_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLINIO_DEPLOY_QEMU_RISCV32", "/nowhere/qemu-system-riscv32")


def nothing_in_path(_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    for name in ("GCC_ARM", "GCC_HOST", "QEMU_ARM"):
        monkeypatch.delenv(f"PLINIO_DEPLOY_{name}", raising=False)


def too_big_for_flash(tmp_path: Path, _: pytest.MonkeyPatch) -> None:
    _project(tmp_path)
    (tmp_path / "small.toml").write_text(TARGET.format(flash=1024, ram=65536))


def too_big_for_ram(tmp_path: Path, _: pytest.MonkeyPatch) -> None:
    _project(tmp_path)
    (tmp_path / "small.toml").write_text(TARGET.format(flash=65536, ram=512))


def disk_full(_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4096))


def disk_full_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy_workspace(tmp_path / "out")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdopen", full)


def folder_is_a_file(tmp_path: Path, _: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").write_text("")


def folder_is_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = os.access  # root may write anywhere, so taking the permission away would not do

    def access(path: Path, mode: int) -> bool:
        return Path(path) != tmp_path and ask(path, mode)

    monkeypatch.setattr(os, "access", access)


def damaged_network(tmp_path: Path, _: pytest.MonkeyPatch) -> None:
    path = toy_workspace(tmp_path / "out").integerize.path / "network.json"
    path.write_text(path.read_text()[:-400])


def damaged_weights(tmp_path: Path, _: pytest.MonkeyPatch) -> None:
    path = toy_workspace(tmp_path / "out").integerize.path / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def network_breaks_a_rule(tmp_path: Path, _: pytest.MonkeyPatch) -> None:
    path = toy_workspace(tmp_path / "out").integerize.path / "network.json"
    document = json.loads(path.read_text())
    document["tensors"][2]["zero_point"] = 400
    path.write_text(json.dumps(document))


def not_bit_exact(tmp_path: Path, _: pytest.MonkeyPatch) -> None:
    """One weight of the generated C is changed by hand."""
    workspace = _project(tmp_path)
    path = workspace.generate.path / PROJECT / "net_weights.c"
    text = path.read_text()
    changed = re.sub(
        r"\{\s*(-?\d+)", lambda match: match.group().replace(match[1], str(int(match[1]) ^ 1)), text, count=1
    )
    assert changed != text
    path.write_text(changed)
    assert main(["build", "--target", "host", "--out", str(workspace.out), "--quiet"]) == 0


def accuracy_too_low(tmp_path: Path, _: pytest.MonkeyPatch) -> None:
    workspace = toy_workspace(tmp_path / "out", metrics=Metrics(0.981, 0.944, 0.97, 0.005))
    for words in (["generate"], ["build", "--target", "host"]):
        assert main([*words, "--out", str(workspace.out), "--quiet"]) == 0


def no_measurement_yet(tmp_path: Path, _: pytest.MonkeyPatch) -> None:
    _project(tmp_path)


def no_firmware_yet(tmp_path: Path, _: pytest.MonkeyPatch) -> None:
    _project(tmp_path)


def interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy_workspace(tmp_path / "out")

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("plinio_deploy.pipeline.generate.generate", stop)


def bug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy_workspace(tmp_path / "out")

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("plinio_deploy.pipeline.generate.generate", fail)
