# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from plinio_deploy.cli.summary import success, summary_table


def _measurement(target: str, instructions: int | None, differing: int = 0) -> dict[str, Any]:
    memory = {"arena_bytes": 2304, "arena_bound_bytes": 2304, "stack_peak_bytes": 120}
    return {
        "target": target,
        "samples": 360,
        "differing_samples": differing,
        "differing_tensors": 0,
        "accuracy": {"float": 0.99, "integer": 0.98056},
        "macs": 1000,
        "total": {"instructions": instructions, "cycles": None, "cycles_source": None},
        "memory": {**memory, "ram_bytes": 2816, "flash_bytes": 10360},
    }


def _text(width: int, *measurements: dict[str, Any]) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=width).print(summary_table(measurements, width))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_one_line_per_target() -> None:
    lines = _text(120, _measurement("host", None), _measurement("cortex-m4", 585912, 3))
    assert lines[1].split() == [
        *("target", "samples", "differing", "accuracy", "instructions", "per", "MAC", "arena", "(bound)"),
        *("stack", "RAM", "flash"),
    ]
    assert " ".join(lines[3].split()) == "host 360 0 98.06 % - - 2 304 (2 304) 120 2 816 10 360"
    assert " ".join(lines[4].split()) == "cortex-m4 360 3 98.06 % 585 912 585.91 2 304 (2 304) 120 2 816 10 360"


@pytest.mark.parametrize("width", [40, 80])
def test_narrow_terminal_gets_one_column_per_target(width: int) -> None:
    lines = _text(width, _measurement("cortex-m4", 585912))
    assert "cortex-m4" in lines[1]
    assert any(line.split() == ["instructions", "585", "912"] for line in lines)
    assert max(map(len, lines)) <= width


def test_cycles_appear_with_their_source_once_a_target_has_them() -> None:
    timed = _measurement("ibex", 585912)
    timed["total"] |= {"cycles": 700123, "cycles_source": "rtl"}
    lines = _text(140, _measurement("host", None), timed)
    assert "cycles" in lines[1].split()
    assert "700 123 (rtl)" in lines[4]
    assert "cycles" not in " ".join(_text(140, _measurement("host", None))[:2])


def test_success_document() -> None:
    assert success("build", out="out") == {"schema": 1, "verb": "build", "ok": True, "out": "out"}
