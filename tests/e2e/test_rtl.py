# SPDX-License-Identifier: Apache-2.0
"""Generated networks on RTL: every kernel, whole networks, and the three views of one ELF file."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from plinio_deploy.cli import main
from plinio_deploy.targets import registry
from plinio_deploy.targets.build import BuildInputs, BuildResult, Layer, build
from plinio_deploy.targets.runners import for_target
from plinio_deploy.targets.runners.base import Mode, RunRequest, RunResult, count_request
from tests.codegen.harness import Case, make_case
from tests.codegen.ops_cases import CASES
from tests.networks import NETWORKS

pytestmark = [pytest.mark.rtl, pytest.mark.qemu]
SAMPLES = 2


@functools.cache
def whole(name: str) -> Case:
    return make_case(NETWORKS[name]("hi32"), samples=SAMPLES)


def firmware(case: Case, folder: Path) -> BuildResult:
    manifest = case.manifest
    inputs = BuildInputs(
        prefix=manifest.prefix,
        sources=tuple(manifest.sources),
        trace_sources=tuple(manifest.trace_sources),
        layers=tuple(Layer(step.layer, step.symbol, step.weights_bytes) for step in manifest.steps),
        arena_bytes=manifest.arena_bytes,
    )
    return build(case.artifact, inputs, registry.load("rv32imc"), folder)


def run(target: str, case: Case, built: BuildResult, mode: Mode) -> RunResult:
    symbols = [step.symbol for step in case.manifest.steps]
    count = count_request(built.image, symbols, prefix=case.manifest.prefix) if mode == "outputs" else None
    request = RunRequest(mode, b"".join(case.inputs), len(case.inputs), count)
    return for_target(registry.load(target)).run(built.elf, request)


def check_every_tensor(target: str, case: Case, built: BuildResult) -> None:
    traced = run(target, case, built, "trace").outputs
    for sample in range(len(case.inputs)):
        for call in case.manifest.calls:
            got, traced = traced[: call.bytes], traced[call.bytes :]
            assert got == case.wanted(call, sample), f"{target}: {call.layer}, sample {sample}"
    assert not traced


@pytest.mark.parametrize("name", CASES)
def test_every_kernel(name: str, tmp_path: Path) -> None:
    case = make_case(CASES[name](), samples=SAMPLES)
    check_every_tensor("ibex", case, firmware(case, tmp_path))


@pytest.mark.parametrize("target", ["cv32e40p", "ibex", "picorv32"])
@pytest.mark.parametrize("name", NETWORKS)
def test_whole_networks(name: str, target: str, tmp_path: Path) -> None:
    case = whole(name)
    built = firmware(case, tmp_path)
    check_every_tensor(target, case, built)
    emulated, simulated = (run(runner, case, built, "outputs") for runner in ("rv32imc", target))
    assert simulated.outputs == emulated.outputs == b"".join(case.outputs)
    assert simulated.instructions == emulated.instructions
    assert simulated.cycles is not None
    assert set(simulated.cycles.by_symbol) == {f"{case.manifest.prefix}_run", *(s.symbol for s in case.manifest.steps)}
    assert all(simulated.cycles.by_symbol.values())


def test_the_whole_line_ends_with_cycles(run_of: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    out = run_of("digits")
    words = ["--target", "rv32imc", "--target", "ibex", "--samples", "4", "--trace-samples", "1"]
    capsys.readouterr()
    assert main(["run", "digits", *words, "--out", str(out), "--json"]) == 0
    emulated, simulated = json.loads(capsys.readouterr().out)["measurements"]
    assert (simulated["runner"], simulated["samples"], simulated["traced_samples"]) == ("rtl", 4, 1)
    assert (simulated["differing_samples"], simulated["differing_tensors"]) == (0, 0)
    total = simulated["total"]
    assert total["instructions"] == emulated["total"]["instructions"] < total["cycles"]
    assert total["cycles_source"] == "rtl"
    assert "0 wait states" in total["cycles_conditions"]
    assert "RTL of the core" in simulated["sources"]["cycles"]
    assert emulated["sources"]["cycles"] == "not counted"
    between = total["cycles"] - sum(layer["cycles"] for layer in simulated["layers"])
    assert 0 < between < 0.01 * total["cycles"] + 200
    assert simulated["simulation"]["cycles_per_second"] > 10_000
    assert {"verilator", "pythondata-cpu-ibex", "gcc"} <= simulated["tools"].keys()
    assert "Cycles per layer: rtl" in (out / "report" / "report.html").read_text(encoding="utf-8")
