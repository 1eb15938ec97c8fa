# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from plinio_deploy.errors import DeviceError, OutputError
from plinio_deploy.targets.runners import process
from plinio_deploy.targets.runners.base import RunRequest

REQUEST = RunRequest("outputs", b"x", 1, timeout_s=1.0)


def test_status_and_both_streams_come_back(tmp_path: Path) -> None:
    code = "import sys; print('one', flush=True); print('two', file=sys.stderr); sys.exit(3)"
    ended = process.run([sys.executable, "-c", code], tmp_path, REQUEST)
    assert ended.code == 3
    assert ended.console.split() == ["one", "two"]


def test_a_process_that_does_not_end_is_killed(tmp_path: Path) -> None:
    code = "import time; print('last words', flush=True); time.sleep(600)"
    start = time.monotonic()
    with pytest.raises(DeviceError, match="did not end within 1 s") as caught:
        process.run([sys.executable, "-c", code], tmp_path, REQUEST)
    assert "last words" in caught.value.what
    assert time.monotonic() - start < 300


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught, process.scratch():
        process.run([str(tmp_path / "none")], tmp_path, REQUEST)
    assert caught.value.where == str(tmp_path / "none")


def test_the_folder_of_a_run_goes() -> None:
    with process.scratch() as folder:
        (folder / "file").write_text("x")
    assert not folder.exists()
