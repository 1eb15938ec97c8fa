# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from plinio_deploy.errors import OutputError
from plinio_deploy.pipeline.workspace import Workspace


def test_check_writes_nothing(tmp_path: Path) -> None:
    Workspace(tmp_path / "a" / "b").check_writable()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("below", [".", "below", "below/that"])
def test_file_in_the_way(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot use") as caught:
        Workspace(tmp_path / "file" / below).check_writable()
    assert caught.value.where == str(tmp_path / "file")


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4096))
    with pytest.raises(OutputError, match="the disk is full") as caught:
        Workspace(tmp_path / "out").check_writable()
    assert caught.value.got == "4 KiB free"


def test_read_only_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere, so a mode would not do
    with pytest.raises(OutputError, match="cannot write to"):
        Workspace(tmp_path / "out").check_writable()


def test_lock_keeps_another_process_out(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "out")
    program = (
        "import sys; from pathlib import Path; from plinio_deploy.pipeline.workspace import Workspace\n"
        "from plinio_deploy.errors import OutputError\n"
        "try:\n    with Workspace(Path(sys.argv[1])).locked(): print('in')\n"
        "except OutputError as error: print(error.got)\n"
    )
    command = [sys.executable, "-c", program, str(workspace.out)]
    with workspace.locked():
        inside = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    after = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert inside == f"process {os.getpid()}\n"
    assert after == "in\n"


def test_lock_needs_a_folder_that_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError), Workspace(tmp_path / "file").locked():
        pass
