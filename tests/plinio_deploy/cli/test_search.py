# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

from tests.plinio_deploy.cli.conftest import RunJson

RECIPE = Path(__file__).parents[1] / "pipeline" / "searched_recipe.py"


def test_search_trains_searches_and_stops(tmp_path: Path, run_json: RunJson) -> None:
    out = tmp_path / "out"
    words = ["--methods", "pit", "--strength", "1", "--cost", "macs", "--epochs", "1", "--search-epochs", "1"]
    document = run_json("search", str(RECIPE), *words, "--tune-epochs", "0", "--qat-epochs", "0", "--out", str(out))
    assert document["facts"]["methods"] == ["pit"]
    rows = [json.loads(line) for line in (out / "searched" / "record.jsonl").read_text().splitlines()]
    assert [row["phase"] for row in rows] == ["pit"]
    assert not (out / "integerize").exists()
