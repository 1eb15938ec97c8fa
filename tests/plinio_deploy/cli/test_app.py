# SPDX-License-Identifier: Apache-2.0
"""Help texts: the words of every verb are pinned in help/*.txt; ``PLINIO_DEPLOY_UPDATE=1`` writes them anew."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from plinio_deploy import __version__
from plinio_deploy.cli import main

HELP = Path(__file__).resolve().parent / "help"
VERBS = [
    "",
    "run",
    "train",
    "search",
    "integerize",
    "tune",
    "generate",
    "build",
    "measure",
    "report",
    "targets",
    "targets list",
    "targets show",
    "doctor",
]


@pytest.mark.parametrize("verb", VERBS)
def test_help(verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERMINAL_WIDTH", "100")
    assert main([*verb.split(), "--help"]) == 0
    found = "".join(line.rstrip() + "\n" for line in capsys.readouterr().out.splitlines())
    file = HELP / f"{'-'.join(['plinio-deploy', *verb.split()])}.txt"
    if os.environ.get("PLINIO_DEPLOY_UPDATE"):
        HELP.mkdir(exist_ok=True)
        file.write_text(found, encoding="utf-8")
    assert found == file.read_text(encoding="utf-8")
    assert f"Example: plinio-deploy {verb}".rstrip() in found


def test_help_and_version_do_not_import_torch() -> None:
    code = (
        "import sys; from plinio_deploy.cli import main\n"
        "for words in (['--help'], ['run', '--help'], ['--version'], ['targets', 'list'], ['doctor', '--json']):\n"
        "    main(words)\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'torch', 'sklearn', 'scipy'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"plinio-deploy {__version__}\n"
