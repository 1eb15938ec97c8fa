# SPDX-License-Identifier: Apache-2.0
"""Every folder here is a mistake: ``command`` is what the user typed, ``expected`` the exit code and what stderr said.

``PLINIO_DEPLOY_UPDATE=1 pytest tests/errors`` writes `expected` anew; read the difference before you commit it.
Whatever the command needs is prepared by the function of `tests.errors.prepare` that has the folder's name.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from plinio_deploy.cli import main
from tests.errors import prepare

HERE = Path(__file__).resolve().parent
CASES = sorted(path.parent.name for path in HERE.glob("*/command"))
QEMU_CASES = {"too-big-for-flash", "too-big-for-ram"}


def normalize(text: str, out: Path) -> str:
    """Without what differs between machines: paths, versions, numbers of processes."""
    text = text.replace(str(out), "<tmp>").replace(str(HERE), "<errors>").replace(str(HERE.parents[1]), "<repo>")
    text = re.sub(r"\d+(?= bytes \(needs)|(?<=needs )\d+|\d+(?= of code)|(?<=arena is )\d+", "<n>", text)
    text = re.sub(r"(?<=expected: one of )cortex-m0plus, .*", "<targets>", text)
    text = re.sub(r"(?<=traceback-)\w+(?=\.txt)", "<name>", text)
    text = re.sub(r"\S*/(?=plinio-deploy-traceback)", "<tmp>/", text)
    return "".join(line.rstrip() + "\n" for line in text.splitlines())


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.qemu if case in QEMU_CASES else ()) for case in CASES]
)
def test_message(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = HERE / case
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    getattr(prepare, case.replace("-", "_"), lambda *_: None)(tmp_path, monkeypatch)
    command = (folder / "command").read_text(encoding="utf-8").strip()
    words = [word.replace("$TMP", str(tmp_path)).replace("$CASE", str(folder)) for word in shlex.split(command)]
    before = sorted(tmp_path.rglob("*"))
    capsys.readouterr()
    code = main(words[1:])
    printed = capsys.readouterr()
    found = f"exit code: {code}\n\n{normalize(printed.err, tmp_path)}"
    expected = folder / "expected"
    if os.environ.get("PLINIO_DEPLOY_UPDATE"):
        expected.write_text(found, encoding="utf-8")
    assert found == expected.read_text(encoding="utf-8")
    assert printed.out == ""
    if "nothing-written" in command:
        assert sorted(tmp_path.rglob("*")) == before


def test_every_case_has_both_files() -> None:
    folders = {path.name for path in HERE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(CASES)
    assert all((HERE / case / "expected").is_file() for case in CASES)
