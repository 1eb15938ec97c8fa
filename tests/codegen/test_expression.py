# SPDX-License-Identifier: Apache-2.0
"""Index expressions: the examples of the module hold, and random ones have the right value."""

from __future__ import annotations

import doctest

from hypothesis import given
from hypothesis import strategies as st

from plinio_deploy.codegen import expression
from plinio_deploy.codegen.expression import add, mul

TERMS = st.one_of(st.integers(-9, 9), st.sampled_from(["ky", "oc", "3", "-2"]))
VALUES = {"ky": 5, "oc": 7}


def value(text: str | int) -> int:
    return int(eval(str(text), {}, dict(VALUES)))  # noqa: S307 - C and Python agree on these


def test_the_examples() -> None:
    failures, examples = doctest.testmod(expression)
    assert examples >= 4
    assert failures == 0


@given(TERMS, TERMS, TERMS, st.integers(0, 9), st.integers(0, 9))
def test_expressions_have_the_value_of_what_they_stand_for(
    a: str | int, b: str | int, c: str | int, m: int, n: int
) -> None:
    text = mul(add(mul(add(a, b), m), c), n)
    assert value(text) == ((value(a) + value(b)) * m + value(c)) * n
    assert "* 1" not in text.replace("* 1)", "")
    assert "+ 0" not in text
