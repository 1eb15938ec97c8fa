# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from plinio_deploy.cli import main
from tests.plinio_deploy.pipeline.test_train import TINY


def test_trains_first_where_that_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["integerize", str(TINY), "--epochs", "0", "--qat-epochs", "0", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    printed = capsys.readouterr()
    assert printed.out == f"Integer network: {tmp_path / 'out' / 'integerize'}\n"
    assert printed.err.splitlines() == ["train ...", "integerize ..."]
