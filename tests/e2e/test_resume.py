# SPDX-License-Identifier: Apache-2.0
"""Killed, interrupted, out of space: the same command goes on, and gives the bytes of an undisturbed run."""

from __future__ import annotations

import json
import os
import resource
import signal
from pathlib import Path

import pytest

from plinio_deploy.cli import main
from tests.e2e.commands import results, run, start

RECIPE = Path(__file__).parents[1] / "plinio_deploy" / "pipeline" / "tiny_recipe.py"
pytestmark = pytest.mark.host


def _words(out: Path) -> list[str]:
    return ["run", str(RECIPE), "--target", "host", "--epochs", "15", "--qat-epochs", "10", "--out", str(out)]


def _compare(found: dict[str, bytes], expected: dict[str, bytes]) -> None:
    """The same files with the same bytes; the first difference is shown."""
    assert found.keys() == expected.keys()
    for name, content in expected.items():
        if found[name] != content:
            lines = zip(found[name].split(b"\n"), content.split(b"\n"), strict=False)
            pytest.fail(f"{name}: {next((pair for pair in lines if pair[0] != pair[1]), 'one is longer')}")


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A run that nothing happened to; in this process, so that those that are forked off find torch loaded."""
    out = tmp_path_factory.mktemp("straight") / "out"
    assert main(_words(out)) == 0
    return results(out)


def test_another_folder_gives_the_same_bytes(tmp_path: Path, straight: dict[str, bytes]) -> None:
    code, _, err = run(*_words(tmp_path / "deeper" / "out"))
    assert code == 0, err
    _compare(results(tmp_path / "deeper" / "out"), straight)


@pytest.mark.parametrize(
    ("moment", "kept"),
    [
        (".work/train/inputs.json", set()),
        (".work/train/.float.safetensors", set()),
        (".work/train/.qat.safetensors", set()),
        ("train/stage.json", {"train"}),
        ("integerize/stage.json", {"train", "integerize"}),
        (".work/build-host/src", {"train", "integerize", "generate"}),
        ("build/host/stage.json", {"train", "integerize", "generate", "build host"}),
    ],
)
def test_kill_and_again(tmp_path: Path, straight: dict[str, bytes], moment: str, kept: set[str]) -> None:
    out = tmp_path / "out"
    process = start(*_words(out))
    assert process.stop_when((out / moment).exists, signal.SIGKILL), process.finish()
    assert process.finish()[0] == -signal.SIGKILL
    code, printed, err = run(*_words(out), "--json")
    assert code == 0, err
    assert kept <= {stage["stage"] for stage in json.loads(printed)["stages"] if stage["kept"]}
    _compare(results(out), straight)


def test_ctrl_c_and_again(tmp_path: Path, straight: dict[str, bytes]) -> None:
    out = tmp_path / "out"
    process = start(*_words(out))
    assert process.stop_when((out / ".work/train/.float.safetensors").exists, signal.SIGINT)
    code, _, err = process.finish()
    assert code == 130
    assert "interrupted; finished stages are kept" in err
    assert f"--out {out}" in err
    assert "Traceback" not in err
    code, _, err = run(*_words(out))
    assert code == 0, err
    _compare(results(out), straight)


@pytest.mark.parametrize("limit", [2000, 12000])
def test_no_more_room_and_again(tmp_path: Path, straight: dict[str, bytes], limit: int) -> None:
    """A limit on the size of a file stands in for a full disk; the limits hit in training and in the build."""
    out = tmp_path / "out"

    def before() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    code, _, err = run(*_words(out), before=before)
    assert code == 2, err
    assert "cannot " in err
    assert "File too large" in err or "File size limit exceeded" in err
    assert "Things to try" in err
    code, _, err = run(*_words(out))
    assert code == 0, err
    _compare(results(out), straight)


def test_two_runs_in_one_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = start(*_words(out))
    try:
        assert first.stop_when((out / ".work/train/.float.safetensors").exists, signal.SIGSTOP)
        code, _, err = run(*_words(out))
        assert code == 2
        assert "another run is using" in err
        assert f"process {first.pid}" in err
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.finish()
