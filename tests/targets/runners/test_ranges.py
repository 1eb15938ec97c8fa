# SPDX-License-Identifier: Apache-2.0
"""The file of ranges that both counters read, and their counts by name."""

from __future__ import annotations

from pathlib import Path

from plinio_deploy.targets.runners import ranges
from plinio_deploy.targets.runners.base import CountRequest, SymbolRange

REQUEST = CountRequest(
    "net_run",
    (SymbolRange("net_a", 0x100, 0x10), SymbolRange("net_run", 0x200, 8), SymbolRange("net_a", 0x180, 4)),
    (SymbolRange("bench_main", 0x300, 0x20),),
)


def test_the_entry_comes_first_and_clones_share_an_identifier(tmp_path: Path) -> None:
    ranges.write(tmp_path / "ranges", REQUEST)
    assert (tmp_path / "ranges").read_text() == "200 208 0\n100 110 2\n180 184 2\n300 320 1\n"


def test_counts_by_name() -> None:
    assert ranges.by_symbol({0: 5, 2: 7}, REQUEST) == {"net_run": 5, "net_a": 7}
    assert ranges.by_symbol({0: 5}, REQUEST) == {"net_run": 5, "net_a": 0}


def test_an_inference_that_was_not_seen_whole() -> None:
    assert "no complete call of net_run" in ranges.incomplete(REQUEST, console="").what
