# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plinio_deploy.report import svg
from tests.plinio_deploy.report.samples import plan


def _parse(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 (our own text)


def _rects(root: ET.Element) -> dict[str, dict[str, float]]:
    """Place and size of each rectangle by the first word of its hover text."""
    return {
        (rect.findtext("title") or "").partition(":")[0]: {
            key: float(rect.get(key, "nan")) for key in ("x", "y", "width", "height")
        }
        for rect in root.iter("rect")
    }


def _inside(root: ET.Element) -> bool:
    _, _, width, height = map(float, root.get("viewBox", "").split())
    return all(
        rect["x"] >= 0 and rect["x"] + rect["width"] <= width + 0.5 and 0 <= rect["y"] <= height - rect["height"] + 0.5
        for rect in _rects(root).values()
    )


@given(st.floats(min_value=1e-3, max_value=1e12))
def test_ticks_are_round_few_and_reach_the_top(top: float) -> None:
    marks = svg.ticks(top)
    step = marks[1]
    assert marks[0] == 0
    assert marks[-1] >= top * (1 - 1e-6)
    assert 3 <= len(marks) <= 8
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert any(math.isclose(mantissa, good, rel_tol=1e-6) for good in (1, 2, 2.5, 5, 10))


def test_ticks_of_nothing() -> None:
    assert svg.ticks(0) == [0.0, 1.0]


def test_number() -> None:
    assert svg.number(1234567) == "1\u202f234\u202f567"


def test_memory_map_draws_every_buffer_where_it_lies() -> None:
    root = _parse(svg.memory_map(plan()))
    rects = _rects(root)
    assert set(rects) == {"first", "tiny", "x<y"}
    first, other = rects["first"], rects["x<y"]
    assert first["y"] > other["y"], "higher offsets are drawn higher"
    assert first["x"] < other["x"]
    assert first["height"] / other["height"] == pytest.approx(200 / 98, rel=0.05)
    assert first["width"] == pytest.approx(other["width"], abs=0.2)
    assert _inside(root)
    bound = next(line for line in root.iter("line") if line.get("class") == "bound")
    assert other["y"] < float(bound.get("y1", "nan")) < first["y"], "the bound lies below the top of this arena"


def test_grouped_bars_are_to_scale_and_leave_gaps_for_none() -> None:
    bars = svg.Bars(["conv", "add"], ["m4", "host"], [[100.0, 50.0], [None, 25.0]], "instructions")
    root = _parse(svg.grouped_bars(bars))
    rects = _rects(root)
    assert set(rects) == {"conv, m4", "add, m4", "add, host"}
    assert rects["conv, m4"]["width"] == pytest.approx(2 * rects["add, m4"]["width"], rel=0.01)
    assert _inside(root)


def test_stacked_bars_put_parts_end_to_end() -> None:
    root = _parse(svg.stacked_bars([("m4", [("weights", 30.0), ("code", 70.0)])], "bytes"))
    rects = _rects(root)
    weights, code = rects["m4, weights"], rects["m4, code"]
    assert weights["x"] + weights["width"] == pytest.approx(code["x"], abs=0.2)
    assert "100" in [text.text for text in root.iter("text")]
    assert _inside(root)


def test_nothing_to_draw_is_no_error() -> None:
    empty = {"arena_bytes": 0, "arena_bound_bytes": 0, "steps": [], "buffers": []}
    for text in (svg.memory_map(empty), svg.grouped_bars(svg.Bars([], [], [], "x")), svg.stacked_bars([], "x")):
        _parse(text)


def test_curve() -> None:
    root = _parse(svg.curve([2.0, 1.0, 1.0], "loss"))
    points = [tuple(map(float, pair.split(","))) for pair in (root.findall("polyline")[0].get("points") or "").split()]
    assert len(points) == 3
    assert points[0][1] < points[1][1] == points[2][1], "y grows downwards"
    _parse(svg.curve([1.0, 1.0], "flat"))
