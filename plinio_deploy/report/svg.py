# SPDX-License-Identifier: Apache-2.0
"""The report's drawings, as inline SVG text. Colours come from the page's style sheet, through classes.

Every number drawn is also in a table of the page, so that nothing depends on seeing the picture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

WIDTH = 1000
"""Width of every drawing in its own units; the page scales it."""

SERIES = 8
"""Number of colours in the style sheet; more series begin again."""


def number(value: float) -> str:
    """With thin spaces between thousands: 12345 -> ``12 345``."""
    return f"{value:,.0f}".replace(",", "\u202f")


def _text(x: float, y: float, text: str, css: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{css}" text-anchor="{anchor}">{escape(text)}</text>'


def _rect(x: float, y: float, width: float, height: float, css: str, title: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height:.1f}" rx="2" class="{css}">'
        f"<title>{escape(title)}</title></rect>"
    )


def _line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{css}"/>'


def _svg(height: float, label: str, body: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(label, quote=True)}">'
        + "".join(body)
        + "</svg>"
    )


def ticks(top: float, count: int = 5) -> list[float]:
    """Round values from 0 up to at least ``top``, about ``count`` of them, in steps of 1, 2, 2.5 or 5 times 10^n."""
    if top <= 0:
        return [0.0, 1.0]
    raw = top / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * (1 - 1e-9))
    return [step * index for index in range(math.ceil(top / step - 1e-9) + 1)]


def memory_map(plan: Mapping[str, Any]) -> str:
    """The arena over time: one rectangle per buffer, steps to the right, offset in the arena upwards.

    Args:
        plan: ``memory_plan`` of the report.
    """
    steps, buffers = plan["steps"], plan["buffers"]
    arena, bound = int(plan["arena_bytes"]), int(plan["arena_bound_bytes"])
    left, top, right, height = 70.0, 14.0, 10.0, 300.0
    column = (WIDTH - left - right) / max(1, len(steps))
    scale = height / max(1, arena)
    body = []
    for value in ticks(arena):
        if value <= arena * 1.02:
            y = top + height - value * scale
            body += [_line(left, y, WIDTH - right, y, "grid"), _text(left - 8, y + 4, number(value), "tick", "end")]
    for index, buffer in enumerate(buffers):
        first, last = int(buffer["first_step"]), int(buffer["last_step"])
        size, offset = int(buffer["bytes"]), int(buffer["offset"])
        x, y = left + first * column, top + height - (offset + size) * scale
        width = (last - first + 1) * column
        title = f"{buffer['tensor']}: {number(size)} bytes at offset {number(offset)}, steps {first} to {last}"
        body.append(_rect(x + 1, y + 0.5, width - 2, size * scale - 1, f"buffer s{index % SERIES}", title))
        if size * scale >= 15:
            # 6.6 units are about the width of one letter at this size
            label = str(buffer["tensor"])[: max(0, int((width - 12) / 6.6))]
            body.append(_text(x + 7, y + min(size * scale / 2 + 4, 16), label, "on"))
    y = top + height - bound * scale
    body += [_line(left, y, WIDTH - right, y, "bound"), _line(left, top + height, WIDTH - right, top + height, "axis")]
    bottom = top + height
    for index, step in enumerate(steps):
        x = left + (index + 0.5) * column
        body.append(
            f'<text transform="translate({x:.1f},{bottom + 12:.1f}) rotate(-35)" class="tick" text-anchor="end">'
            f"{escape(str(step['layer']))}</text>"
        )
    longest = max((len(str(step["layer"])) for step in steps), default=0)
    return _svg(bottom + 24 + longest * 3.8, "Arena over the steps of one inference", body)


@dataclass(frozen=True)
class Bars:
    """Horizontal bars in groups.

    Attributes:
        groups: label of each group.
        series: label of each series (a bar in every group).
        values: ``values[series][group]``; ``None`` draws no bar.
        unit: for the hover text.
    """

    groups: Sequence[str]
    series: Sequence[str]
    values: Sequence[Sequence[float | None]]
    unit: str


def grouped_bars(bars: Bars) -> str:
    """One group per layer, one bar per target in it."""
    left, right, top = 190.0, 90.0, 22.0
    thick = 16.0 if len(bars.series) == 1 else 11.0
    gap = 10.0
    greatest = max((value for row in bars.values for value in row if value is not None), default=0.0)
    marks = ticks(greatest)
    scale = (WIDTH - left - right) / marks[-1]
    group_height = thick * len(bars.series) + gap
    bottom = top + group_height * len(bars.groups)
    body = []
    for mark in marks:
        x = left + mark * scale
        body += [_line(x, top - 4, x, bottom, "grid"), _text(x, top - 9, number(mark), "tick", "middle")]
    for row, group in enumerate(bars.groups):
        y = top + row * group_height + gap / 2
        body.append(_text(left - 10, y + thick * len(bars.series) / 2 + 4, group, "label", "end"))
        for index, series in enumerate(bars.series):
            value = bars.values[index][row]
            if value is None:
                continue
            place = y + index * thick
            title = f"{group}, {series}: {number(value)} {bars.unit}"
            body.append(_rect(left, place + 0.5, value * scale, thick - 1.5, f"s{index % SERIES}", title))
            body.append(_text(left + value * scale + 5, place + thick - 2.5, number(value), "value"))
    body.append(_line(left, top - 4, left, bottom, "axis"))
    return _svg(bottom + 6, f"{bars.unit} per layer", body)


def stacked_bars(rows: Sequence[tuple[str, Sequence[tuple[str, float]]]], unit: str) -> str:
    """One bar per row, made of labelled parts.

    Args:
        rows: label, and the parts as (name, value); all rows name the same parts in the same order.
        unit: for the hover text.
    """
    left, right, top, thick, gap = 190.0, 90.0, 22.0, 18.0, 8.0
    totals = [sum(value for _, value in parts) for _, parts in rows]
    marks = ticks(max(totals, default=0.0))
    scale = (WIDTH - left - right) / marks[-1]
    bottom = top + (thick + gap) * len(rows)
    body = []
    for mark in marks:
        x = left + mark * scale
        body += [_line(x, top - 4, x, bottom, "grid"), _text(x, top - 9, number(mark), "tick", "middle")]
    for row, (label, parts) in enumerate(rows):
        y = top + row * (thick + gap) + gap / 2
        body.append(_text(left - 10, y + thick - 4.5, label, "label", "end"))
        x = left
        for index, (name, value) in enumerate(parts):
            body.append(_rect(x, y, value * scale, thick, f"s{index}", f"{label}, {name}: {number(value)} {unit}"))
            x += value * scale
        body.append(_text(x + 5, y + thick - 4.5, number(totals[row]), "value"))
    body.append(_line(left, top - 4, left, bottom, "axis"))
    return _svg(bottom + 6, unit, body)


def curve(points: Sequence[float], label: str) -> str:
    """A small line chart of values against their number (an epoch), 0 at the left.

    Args:
        points: the values; at least two.
        label: what they are.
    """
    left, right, top, height = 60.0, 20.0, 12.0, 150.0
    low, high = min(points), max(points)
    span = (high - low) or 1.0
    step = (WIDTH - left - right) / max(1, len(points) - 1)
    places = [
        f"{left + index * step:.1f},{top + height - (value - low) / span * height:.1f}"
        for index, value in enumerate(points)
    ]
    body = [
        _line(left, top, WIDTH - right, top, "grid"),
        _line(left, top + height, WIDTH - right, top + height, "axis"),
        _text(left - 8, top + 4, f"{high:.3g}", "tick", "end"),
        _text(left - 8, top + height + 4, f"{low:.3g}", "tick", "end"),
        f'<polyline points="{" ".join(places)}" class="curve"/>',
        _text(left, top + height + 18, "epoch 1", "tick"),
        _text(WIDTH - right, top + height + 18, f"epoch {len(points)}", "tick", "end"),
    ]
    return _svg(top + height + 26, label, body)
