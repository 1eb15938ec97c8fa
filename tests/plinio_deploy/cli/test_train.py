# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from plinio_deploy.cli import main
from tests.plinio_deploy.pipeline.test_train import TINY


def test_says_where_the_network_is_and_how_training_went(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", str(TINY), "--epochs", "2", "--qat-epochs", "1", "--out", str(tmp_path / "out"), "-v"]
    assert main(words) == 0
    printed = capsys.readouterr()
    assert printed.out == f"Trained network: {tmp_path / 'out' / 'train'}\n"
    assert "train: 2/3 float loss" in printed.err
    assert "train: 3/3 qat loss" in printed.err
