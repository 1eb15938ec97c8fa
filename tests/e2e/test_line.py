# SPDX-License-Identifier: Apache-2.0
"""The whole line on real images: every target, every test image, every tensor of sixteen images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plinio_deploy import storage
from plinio_deploy.cli import main
from plinio_deploy.network import Add, AvgPool, Concat, Conv
from tests.e2e.conftest import RECIPES

ARM = ["cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55"]
TARGETS = ["host", *ARM, "rv32imc"]
MIXED = str(RECIPES / "mixed.py")

pytestmark = pytest.mark.qemu


def _run(recipe: str, out: Path, targets: list[str], capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    words = [word for target in targets for word in ("--target", target)]
    capsys.readouterr()
    code = main(["run", recipe, *words, "--out", str(out), "--json"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    document = json.loads(printed.out)
    kept = {stage["stage"] for stage in document["stages"] if stage["kept"]}
    assert kept == {"train", "integerize"}
    measurements: list[dict[str, Any]] = document["measurements"]
    return measurements


def _check(measured: dict[str, Any]) -> None:
    assert measured["samples"] >= 360
    assert (measured["differing_samples"], measured["differing_tensors"]) == (0, 0)
    assert measured["traced_samples"] == 16
    assert measured["traced_tensors"] == 16 * len(measured["layers"])
    assert measured["accuracy"]["float"] >= 0.97
    assert measured["accuracy"]["float"] - measured["accuracy"]["integer"] <= 0.005
    memory = measured["memory"]
    assert memory["arena_bytes"] <= 1.05 * memory["arena_bound_bytes"]
    assert memory["ram_bytes"] >= memory["arena_bytes"] + memory["stack_peak_bytes"]
    assert memory["flash_bytes"] >= memory["weights_bytes"] + memory["code_bytes"]
    if measured["runner"] == "host":
        assert measured["total"]["instructions"] is None
        return
    counts = [layer["instructions"] for layer in measured["layers"]]
    assert all(count > 0 for count in counts)
    assert sum(counts) <= measured["total"]["instructions"] <= 1.01 * sum(counts) + 200
    # A vector instruction does up to 16 products, and more than 40 instructions for one would be a mistake.
    for layer, count in zip(measured["layers"], counts, strict=True):
        if layer["macs"]:
            assert 1 / 16 < count / layer["macs"] < 40, layer
    if measured["target"].startswith("cortex-m"):
        assert measured["total"]["cycles_source"] == "model"
        assert measured["total"]["approximate"] == (measured["target"] in {"cortex-m7", "cortex-m33", "cortex-m55"})
        for layer in measured["layers"]:
            assert layer["cycles"] == layer["instructions"] + sum(layer["stalls"].values())
            for key in ("instructions", "cycles"):
                assert layer[key] == sum(phase[key] for phase in layer.get("phases", {"": layer}).values())
    if measured["target"] == "cortex-m4":
        assert any({"products", "requantize"} <= layer.get("phases", {}).keys() for layer in measured["layers"])


@pytest.mark.parametrize("target", TARGETS)
def test_digits(target: str, run_of: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    (measured,) = _run("digits", run_of("digits"), [target], capsys)
    assert measured["target"] == target
    _check(measured)


def test_several_targets_share_everything_up_to_the_c(
    run_of: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = run_of("digits")
    first, second = _run("digits", out, ["rv32imc", "cortex-m4"], capsys)
    assert (first["target"], second["target"]) == ("rv32imc", "cortex-m4")
    assert first["network_digest"] == second["network_digest"]
    report = json.loads((out / "report" / "report.json").read_text(encoding="utf-8"))
    assert [item["target"] for item in report["measurements"]] == ["rv32imc", "cortex-m4"]
    page = (out / "report" / "report.html").read_text(encoding="utf-8")
    assert "rv32imc" in page
    assert "cortex-m4" in page


def test_mixed_network_from_a_users_file(run_of: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    out = run_of(MIXED)
    ops = storage.load(out / "integerize").ops
    assert any(isinstance(op, Conv) and op.is_depthwise for op in ops)
    for kind in (Add, AvgPool, Concat):
        assert any(isinstance(op, kind) for op in ops), kind
    for measured in _run(MIXED, out, ["host", "cortex-m4", "rv32imc"], capsys):
        _check(measured)
