# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest

from plinio_deploy.cli import main
from tests.plinio_deploy.cli.conftest import RunJson
from tests.plinio_deploy.pipeline.test_train import TINY

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run") / "out"


def test_run_and_then_again(out: Path, run_json: RunJson, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", str(TINY), "--target", "host", "--epochs", "12", "--out", str(out)]
    document = run_json(*words)
    assert document["ok"]
    assert [stage["stage"] for stage in document["stages"]] == [
        *("train", "integerize", "generate", "build host", "measure host", "report")
    ]
    assert not any(stage["kept"] for stage in document["stages"])
    (measured,) = document["measurements"]
    assert (measured["samples"], measured["differing_samples"], measured["differing_tensors"]) == (40, 0, 0)
    report = json.loads(Path(document["report"]).with_name("report.json").read_text(encoding="utf-8"))
    assert report["measurements"] == document["measurements"]
    assert report["recipe"] == str(TINY)
    assert all(stage["kept"] for stage in run_json(*words)["stages"])
    assert main(words) == 0
    printed = capsys.readouterr()
    assert "host" in printed.out
    assert "report.html" in printed.out
    assert "train: unchanged, kept" in printed.err


@pytest.mark.qemu
def test_a_run_with_tuned_kernels_is_exact_on_every_target(run_json: RunJson, tmp_path: Path) -> None:
    targets = ("host", "cortex-m4", "cortex-m7")
    words = [word for name in targets for word in ("--target", name)]
    document = run_json("run", str(TINY), *words, "--epochs", "1", "--tune", "--out", str(tmp_path / "out"))
    assert [item["target"] for item in document["measurements"]] == list(targets)
    assert not any(item["differing_samples"] or item["differing_tensors"] for item in document["measurements"])
    for name, item in zip(targets[1:], document["measurements"][1:], strict=True):
        tuning = json.loads((tmp_path / "out" / "tune" / name / "tuning.json").read_text(encoding="utf-8"))
        assert item["total"][tuning["unit"]] <= tuning["default"]["total"]


def test_train_and_integerize_stop_where_they_should(tmp_path: Path, run_json: RunJson) -> None:
    out = tmp_path / "out"
    words = [str(TINY), "--epochs", "1", "--qat-epochs", "0", "--seed", "3", "--out", str(out)]
    trained = run_json("train", *words)
    assert (trained["facts"]["epochs"], trained["facts"]["seed"]) == (1, 3)
    assert not (out / "integerize").exists()
    integerized = run_json("integerize", *words)
    assert integerized["facts"]["in_float"] == trained["facts"]["float_metric"]
    assert (out / "integerize" / "network.json").is_file()
    assert not (out / "generate").exists()
