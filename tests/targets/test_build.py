# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from plinio_deploy.artifact import Artifact
from plinio_deploy.errors import BuildFailed, OutputError, ToolMissing
from plinio_deploy.targets import registry
from plinio_deploy.targets.build import build
from tests.firmware.benches import made
from tests.firmware.fake_project import project


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("host", marks=pytest.mark.host),
        pytest.param("cortex-m4", marks=pytest.mark.qemu),
        pytest.param("rv32imc", marks=pytest.mark.qemu),
    ],
)
def test_the_same_sources_give_the_same_file_anywhere(target: str, tmp_path: Path) -> None:
    first = made(project(), target, tmp_path / "a")
    second = made(project(), target, tmp_path / "some" / "other place")
    content = first.elf.read_bytes()
    assert content == second.elf.read_bytes()
    for path in (str(tmp_path), str(registry.BOARDS.parent.parent)):
        assert path.encode() not in content


@pytest.mark.qemu
def test_sizes_of_the_network_are_reported(tmp_path: Path) -> None:
    small = made(project(), "rv32imc", tmp_path / "small")
    large = made(project(weights=5016), "rv32imc", tmp_path / "large")
    assert small.network_constant_bytes == 16
    assert large.network_constant_bytes == 5016
    assert large.network_code_bytes == small.network_code_bytes > 0
    assert large.image.flash_bytes - small.image.flash_bytes in range(5000, 5016)
    assert small.tools["gcc"].count(".") == 2
    assert small.hexfile is not None
    assert small.hexfile.read_text().startswith(":")


@pytest.mark.host
def test_a_warning_in_generated_code_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed) as caught:
        made(project(first="int8_t narrow = in[0] + 300; (void)narrow;"), "host", tmp_path)
    message = str(caught.value)
    assert "the compiler refused net_layers.c for host" in message
    assert "-Wconversion" in message or "-Werror=" in message


@pytest.mark.host
def test_a_name_that_nobody_defines_is_the_linkers_to_report(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="the linker refused the firmware"):
        made(project(extra="extern int nowhere(void);\n", first="out[0] = (uint8_t)nowhere();"), "host", tmp_path)


def test_a_missing_compiler_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLINIO_DEPLOY_GCC_ARM", str(tmp_path / "none"))
    with pytest.raises(ToolMissing, match="PLINIO_DEPLOY_GCC_ARM"):
        made(project(), "cortex-m4", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.host
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError):
        made(project(), "host", tmp_path / "file" / "out")


@pytest.mark.qemu
def test_the_prefix_is_the_users(tmp_path: Path) -> None:
    base = project()

    def renamed(text: str) -> str:
        return text.replace("net_", "kws_").replace("NET_", "KWS_").replace("net.", "kws.")

    files = {renamed(name): renamed(content.decode()).encode() for name, content in base.artifact.files.items()}
    inputs = replace(
        base.inputs,
        prefix="kws",
        sources=tuple(map(renamed, base.inputs.sources)),
        trace_sources=tuple(map(renamed, base.inputs.trace_sources)),
    )
    result = build(Artifact(files), inputs, registry.load("cortex-m3"), tmp_path)
    assert result.image.named("kws_run")
    assert result.network_constant_bytes == 16
