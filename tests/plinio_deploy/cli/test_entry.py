# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from plinio_deploy import errors
from plinio_deploy.cli import main
from plinio_deploy.cli.entry import EXIT_BUG, EXIT_INTERRUPTED
from tests.plinio_deploy.pipeline.toy_run import toy_workspace

GENERATE = "plinio_deploy.pipeline.generate.generate"


def _raising(error: BaseException) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotBitExact("x"), 1),
        (errors.RecipeError("x"), 2),
        (errors.ToolMissing("x"), 3),
        (errors.UnsupportedModel("x"), 4),
        (errors.DoesNotFit("x"), 5),
        (errors.DeviceError("x"), 6),
        (RuntimeError("x"), EXIT_BUG),
        (KeyboardInterrupt(), EXIT_INTERRUPTED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_exit_codes_and_json_on_failure(
    error: BaseException,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    toy_workspace(tmp_path / "out")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(GENERATE, _raising(error))
    assert main(["generate", "--out", str(tmp_path / "out"), "--json"]) == code
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert (document["schema"], document["verb"], document["ok"]) == (1, "generate", False)
    assert document["error"]["exit_code"] == code
    assert "error:" in printed.err


def test_bug_leaves_a_traceback_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toy_workspace(tmp_path / "out")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(GENERATE, _raising(RuntimeError("two\nlines")))
    main(["generate", "--out", str(tmp_path / "out")])
    (file,) = tmp_path.glob("plinio-deploy-traceback-*.txt")
    assert "RuntimeError: two" in file.read_text()
    printed = capsys.readouterr().err
    assert "this is a bug in plinio-deploy: RuntimeError: two lines" in printed
    assert file.name in printed
    assert "Traceback" not in printed


def test_traceback_option_shows_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "--out", str(tmp_path), "--traceback"]) == 2
    assert "in generate_only" in capsys.readouterr().err


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "Exit codes" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [["nonsense"], ["targets"], ["run"], ["run", "digits"], ["generate", "--samples", "1"]]
)
def test_wrong_arguments(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["error"]["kind"] == "UsageError"
    assert document["error"]["what"]


def test_reader_that_goes_away_is_no_bug() -> None:
    code = (
        "import os, sys; read, write = os.pipe(); os.close(read); os.dup2(write, 1)\n"
        "from plinio_deploy.cli import main; sys.exit(main(['targets', 'show', 'host', '--json']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
