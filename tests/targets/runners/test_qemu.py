# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from plinio_deploy.errors import DeviceError, ToolMissing, UsageError
from plinio_deploy.targets import registry
from plinio_deploy.targets.runners.base import RunRequest
from plinio_deploy.targets.runners.qemu import QemuRunner
from tests.firmware.benches import counting, made, ran, samples
from tests.firmware.fake_project import project, reference


def small_window(folder: Path, size: int) -> str:
    """A copy of rv32imc with a smaller memory window; its path."""
    text = (registry.BOARDS / "rv32imc.toml").read_text()
    assert "size = 0x100_0000" in text
    path = folder / "narrow.toml"
    path.write_text(text.replace("size = 0x100_0000", f"size = {size}").replace('"rv32imc"', '"narrow"', 1))
    return str(path)


@pytest.mark.qemu
def test_samples_that_do_not_fit_the_window_together_run_in_several_goes(tmp_path: Path) -> None:
    target = small_window(tmp_path, 512)
    built = made(project(), target, tmp_path / "out")
    inputs = samples(20)
    # Seven traces of 36 bytes and their inputs fit 512 bytes, twenty do not.
    result = ran(built, target, inputs, mode="trace", count=counting(project(), built))
    assert result.outputs == b"".join(b"".join(reference(sample)) for sample in inputs)
    assert result.instructions is not None
    whole = ran(made(project(), "rv32imc", tmp_path / "whole"), "rv32imc", inputs, count=counting(project(), built))
    assert whole.instructions == result.instructions


@pytest.mark.qemu
def test_inputs_that_fill_the_window_are_refused(tmp_path: Path) -> None:
    target = small_window(tmp_path, 512)
    built = made(project(), target, tmp_path / "out")
    with pytest.raises(UsageError, match="do not fit the target's memory window"):
        ran(built, target, samples(30))


@pytest.mark.qemu
def test_the_version_is_recorded(tmp_path: Path) -> None:
    result = ran(made(project(), "cortex-m4", tmp_path), "cortex-m4", samples(1))
    assert result.tools["qemu"].split(".")[0].isdigit()


@pytest.mark.qemu
def test_an_emulator_that_refuses_the_machine_says_so(tmp_path: Path) -> None:
    path = tmp_path / "odd.toml"
    text = (registry.BOARDS / "cortex-m4.toml").read_text()
    path.write_text(text.replace("mps2-an386", "mps2-an999").replace('"cortex-m4"', '"odd"', 1))
    with pytest.raises(DeviceError) as caught:
        ran(made(project(), str(path), tmp_path / "out"), str(path), samples(1))
    assert "unsupported machine type" in caught.value.what


@pytest.mark.qemu
def test_an_emulator_without_plugins_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = made(project(), "cortex-m4", tmp_path)
    stub = tmp_path / "qemu"
    stub.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo "QEMU emulator version 7.2.0" && exit 0\n'
        'echo "qemu-system-arm: -plugin: invalid option" >&2\nexit 1\n'
    )
    stub.chmod(0o755)
    monkeypatch.setenv("PLINIO_DEPLOY_QEMU_ARM", str(stub))
    with pytest.raises(DeviceError, match="did not accept the instruction counter"):
        ran(built, "cortex-m4", samples(1), count=counting(project(), built))


def test_a_missing_emulator_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLINIO_DEPLOY_QEMU_RISCV32", "/nowhere/qemu")
    with pytest.raises(ToolMissing, match="PLINIO_DEPLOY_QEMU_RISCV32"):
        QemuRunner(registry.load("rv32imc"))


def test_a_target_without_a_machine_is_refused() -> None:
    with pytest.raises(UsageError, match="names no QEMU machine"):
        QemuRunner(registry.load("host"))


@pytest.mark.qemu
def test_a_trace_of_many_samples_is_whole(tmp_path: Path) -> None:
    built = made(project(), "cortex-m0plus", tmp_path)
    inputs = samples(400)
    request = RunRequest("trace", b"".join(inputs), len(inputs))
    result = QemuRunner(registry.load("cortex-m0plus")).run(built.elf, request)
    assert result.outputs == b"".join(b"".join(reference(sample)) for sample in inputs)
