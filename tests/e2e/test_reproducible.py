# SPDX-License-Identifier: Apache-2.0
"""Same input, same bytes: in other folders, other processes, with another hash seed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from plinio_deploy.artifact import Artifact
from tests.e2e.conftest import Trained

PROGRAM = "import sys; from plinio_deploy.cli import main; sys.exit(main())"


def test_generate_in_two_folders_and_processes(trained: Trained, tmp_path: Path) -> None:
    network = str(trained("digits") / "integerize")
    digests, records = set(), set()
    for name, seed in (("a", "1"), ("b/deeper/below", "2")):
        out = tmp_path / name
        command = [sys.executable, "-c", PROGRAM, "generate", "--network", network, "--out", str(out)]
        subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True)
        artifact = Artifact.read(out / "generate" / "project")
        assert str(tmp_path).encode() not in b"".join(artifact.files.values())
        digests.add(artifact.digest())
        records.add((out / "generate" / "stage.json").read_bytes())
    assert len(digests) == 1
    assert len(records) == 1
