# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from plinio_deploy.cli import main
from tests.plinio_deploy.cli.conftest import RunJson


@pytest.mark.host
def test_measure(run_json: RunJson, toy_out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(toy_out)]
    run_json("generate", *out)
    run_json("build", "--target", "host", *out)
    document = run_json("measure", "--target", "host", "--samples", "7", "--trace-samples", "2", *out)
    (measured,) = document["measurements"]
    assert (measured["samples"], measured["traced_samples"], measured["differing_samples"]) == (7, 2, 0)
    assert main(["measure", "--target", "host", *out]) == 0
    printed = capsys.readouterr()
    assert "host" in printed.out
    assert "measure host" in printed.err


def test_samples_must_not_be_negative(run_json: RunJson, toy_out: Path) -> None:
    document = run_json("measure", "--target", "host", "--samples", "-1", "--out", str(toy_out), code=2)
    assert "--samples" in document["error"]["what"]
