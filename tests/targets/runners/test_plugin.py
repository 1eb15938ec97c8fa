# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from plinio_deploy.errors import DeviceError, OutputError, ToolMissing
from plinio_deploy.targets.runners import plugin
from plinio_deploy.targets.runners.base import CountRequest, SymbolRange

REQUEST = CountRequest(
    "net_run",
    (SymbolRange("net_l00", 0x20, 0x10), SymbolRange("net_run", 0x10, 0x10), SymbolRange("net_l00", 0x60, 0x8)),
    (SymbolRange("bench_main", 0x40, 0x10),),
)


@pytest.mark.parametrize(("qemu", "version"), [("7.2.22", 1), ("8.2.2", 1), ("9.0.0", 2), ("10.1.0", 2), ("", 1)])
def test_the_interface_that_a_release_accepts(qemu: str, version: int) -> None:
    assert plugin.interface_version(qemu) == version


@pytest.mark.host
def test_the_library_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLINIO_DEPLOY_CACHE", str(tmp_path))
    first = plugin.library("7.2.22")
    made = first.stat().st_mtime_ns
    assert plugin.library("7.2.1") == first
    assert first.stat().st_mtime_ns == made
    assert plugin.library("9.0.0") != first
    names = subprocess.run(["nm", "-D", "--defined-only", first], capture_output=True, text=True, check=True).stdout
    assert {line.split()[-1] for line in names.splitlines()} >= {"qemu_plugin_install", "qemu_plugin_version"}


@pytest.mark.host
def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("PLINIO_DEPLOY_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="cache cannot be written"):
        plugin.library("7.2.22")


def test_without_a_host_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLINIO_DEPLOY_GCC_HOST", "/nowhere/gcc")
    with pytest.raises(ToolMissing, match="PLINIO_DEPLOY_GCC_HOST"):
        plugin.library("7.2.22")


@pytest.mark.host
def test_the_entry_comes_first_and_clones_share_a_number(tmp_path: Path) -> None:
    options = plugin.options(tmp_path, REQUEST, "7.2.22")
    assert options[0] == "-plugin"
    lines = (tmp_path / "ranges.txt").read_text().splitlines()
    assert lines == ["10 20 0", "20 30 2", "60 68 2", "40 50 1"]


def test_counts_are_read_by_name(tmp_path: Path) -> None:
    (tmp_path / "counts.txt").write_text("entered 1\nfinished 1\n0 0 5\n2 0 37\n")
    counts, cycles = plugin.read_counts(tmp_path, REQUEST, None, console="")
    assert cycles is None
    assert (counts.total, dict(counts.by_symbol)) == (42, {"net_run": 5, "net_l00": 37})


@pytest.mark.parametrize("text", ["entered 0\nfinished 0\n", "entered 1\nfinished 0\n0 0 9\n"])
def test_a_call_that_did_not_return_gives_no_count(text: str, tmp_path: Path) -> None:
    (tmp_path / "counts.txt").write_text(text)
    with pytest.raises(DeviceError, match="no complete call of net_run"):
        plugin.read_counts(tmp_path, REQUEST, None, console="")


def test_no_file_is_no_count(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="did not accept the instruction counter"):
        plugin.read_counts(tmp_path, REQUEST, None, console="")
