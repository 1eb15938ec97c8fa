# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from tests.plinio_deploy.cli.conftest import RunJson


@pytest.mark.host
def test_build(run_json: RunJson, toy_out: Path) -> None:
    run_json("generate", "--out", str(toy_out))
    document = run_json("build", "--target", "host", "--target", "host", "--out", str(toy_out))
    assert list(document["targets"]) == ["host"]
    facts = document["targets"]["host"]
    assert (toy_out / "build" / "host" / facts["elf"]).is_file()
    assert facts["weights_bytes"] > 0
    assert facts["layers"]["stem"] > 0
