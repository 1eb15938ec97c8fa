# SPDX-License-Identifier: Apache-2.0
"""A search within limits, from recipe to measured firmware; killed in the middle it goes on to the same bytes."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from plinio_deploy.cli import main
from tests.e2e.commands import results, run, start

RECIPE = Path(__file__).parents[1] / "plinio_deploy" / "pipeline" / "searched_recipe.py"
METHODS = "supernet,pit,mps"


def _words(recipe: str, out: Path) -> list[str]:
    words = ["--epochs", "2", "--search-epochs", "2", "--tune-epochs", "2", "--strength", "0.3"]
    return ["run", recipe, "--methods", METHODS, *words, "--target", "host", "--out", str(out)]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A run on digits that nothing happened to."""
    out = tmp_path_factory.mktemp("straight") / "out"
    assert main(_words("digits", out)) in (0, 1)  # so few epochs may miss the recipe's bar, which is checked at the end
    return results(out)


@pytest.mark.host
@pytest.mark.parametrize("moment", [".1-supernet", ".2-pit", ".3-mps", ".4-qat"])
def test_kill_and_again(tmp_path: Path, straight: dict[str, bytes], moment: str) -> None:
    out = tmp_path / "out"
    process = start(*_words("digits", out))
    checkpoint = out / ".work" / "searched" / f"{moment}.safetensors"
    assert process.stop_when(checkpoint.exists, signal.SIGKILL), process.finish()
    assert process.finish()[0] == -signal.SIGKILL
    code, _, err = run(*_words("digits", out))
    assert code in (0, 1), err
    found = results(out)
    assert found.keys() == straight.keys()
    assert [name for name, content in straight.items() if found[name] != content] == []


@pytest.mark.qemu
@pytest.mark.slow
def test_digits_within_16_kib_of_flash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    words = ["--methods", METHODS, "--max-flash", "16k", "--target", "cortex-m4", "--out", str(tmp_path / "out")]
    assert main(["run", "digits", *words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (measured,) = document["measurements"]
    assert measured["samples"] == 360
    assert (measured["differing_samples"], measured["differing_tensors"]) == (0, 0)
    assert measured["memory"]["flash_bytes"] <= 16 * 1024
    assert measured["accuracy"]["integer"] >= 0.95
    assert measured["accuracy"]["seed"] >= 0.97
    assert [item["stage"] for item in document["stages"]][:3] == ["train", "search", "integerize"]
    assert all(item["kept"] for item in _again(words, capsys))


def _again(words: list[str], capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    assert main(["run", "digits", *words, "--json"]) == 0
    stages: list[dict[str, object]] = json.loads(capsys.readouterr().out)["stages"]
    return stages


@pytest.mark.qemu
def test_a_limit_that_searching_must_work_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The firmware of the model as it is takes more than the limit; what comes out takes less, and runs."""
    capsys.readouterr()
    words = ["--target", "cortex-m0plus", "--out", str(tmp_path / "out"), "--json"]
    assert main(["run", str(RECIPE), *words]) in (0, 1)
    plain = json.loads((tmp_path / "out" / "measure" / "cortex-m0plus" / "measurement.json").read_text())
    limit = plain["memory"]["flash_bytes"] - 300
    capsys.readouterr()
    words = ["--methods", "pit", "--max-flash", str(limit), *words, "--search-epochs", "8"]
    assert main(["run", str(RECIPE), *words]) in (0, 1), capsys.readouterr().err
    found = json.loads((tmp_path / "out" / "measure" / "cortex-m0plus" / "measurement.json").read_text())
    assert found["memory"]["flash_bytes"] <= limit
    assert found["differing_samples"] == 0


@pytest.mark.qemu
def test_no_room_for_the_network_is_told_before_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--methods", "pit", "--max-flash", "1k", "--target", "cortex-m4", "--out", str(tmp_path / "out")]
    assert main(["run", "digits", *words]) == 5
    assert "leaves no room for the network" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
