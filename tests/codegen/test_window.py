# SPDX-License-Identifier: Apache-2.0
"""Loop bounds of windows, evaluated as C would."""

from __future__ import annotations

import re

from hypothesis import assume, given
from hypothesis import strategies as st

from plinio_deploy.codegen.window import Axis


def c_value(text: str, names: dict[str, int]) -> int:
    """Value of a C integer expression: ``? :`` becomes Python's, division truncates towards zero."""
    parts = re.fullmatch(r"(.*) \? (.*) : (.*)", text)
    if parts:
        condition, yes, no = parts.groups()
        return c_value(yes if eval(condition, {}, names) else no, names)  # noqa: S307 - our own text
    return int(eval(text.replace(" / ", " // ") if "-" not in text else re.sub(r" / ", " / 1.0 / ", text), {}, names))  # noqa: S307


@st.composite
def axes(draw: st.DrawFn) -> Axis:
    size, kernel, stride, dilation = (draw(st.integers(1, most)) for most in (9, 5, 3, 3))
    before, after = draw(st.integers(0, 6)), draw(st.integers(0, 6))
    room = size + before + after - dilation * (kernel - 1)
    assume(room >= 1)
    return Axis("y", size, (room - 1) // stride + 1, kernel, stride, before, dilation)


@given(axes())
def test_the_bounds_select_the_taps_inside_the_input(axis: Axis) -> None:
    for index in range(axis.output):
        names = {"oy": index}
        names["iy"] = c_value(axis.start, names)
        begin = c_value(axis.begin_formula if axis.begin_varies else axis.begin, names)
        end = c_value(axis.end_formula if axis.end_varies else axis.end, names)
        if axis.may_miss:
            end = max(begin, end)
        assert list(range(begin, end)) == list(axis.inside(index)), index


@given(axes())
def test_a_bound_is_a_variable_only_where_it_has_to_be(axis: Axis) -> None:
    if not axis.clipped:
        assert (axis.begin, axis.end) == ("0", str(axis.kernel))
        assert not axis.varies
    if axis.output == 1:
        assert not axis.varies
        assert not axis.declares_origin
