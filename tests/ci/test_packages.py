# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import tomllib

import pytest

from ci.packages import in_reading_order, rewritten
from ci.tree import ROOT

NAMES = ["plinio_deploy.codegen", "plinio_deploy", "plinio_deploy.search.cost", "plinio_deploy.cli"]


def test_the_order_is_that_of_the_data() -> None:
    wanted = ["plinio_deploy", "plinio_deploy.cli", "plinio_deploy.search.cost", "plinio_deploy.codegen"]
    assert in_reading_order(NAMES) == wanted


def test_only_the_list_changes() -> None:
    before = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    after = rewritten(before, NAMES)
    old, new = tomllib.loads(before), tomllib.loads(after)
    assert new["tool"]["setuptools"].pop("packages") == in_reading_order(NAMES)
    names = old["tool"]["setuptools"].pop("packages")
    assert old == new
    assert rewritten(after, names) == rewritten(before, names)


def test_a_file_without_the_list_is_refused() -> None:
    with pytest.raises(ValueError, match="0 lists"):
        rewritten("[project]\n", NAMES)
