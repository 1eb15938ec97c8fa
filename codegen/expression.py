# SPDX-License-Identifier: Apache-2.0
"""C index expressions as a person would write them: no ``* 1``, no ``+ 0``, literals folded.

>>> add("iy", mul("ky", 1), 0)
'iy + ky'
>>> mul(add("iy", mul("ky", 2)), 8)
'(iy + ky * 2) * 8'
>>> add(mul("oy", 2), -1)
'oy * 2 - 1'
>>> mul(add(0, mul("kx", 0)), 4)
'0'
"""

from __future__ import annotations

import re

Term = str | int

_LITERAL = re.compile(r"-?\d+\Z")
_PRODUCT = re.compile(r"[\w\[\]]+( \* [\w\[\]]+)*\Z")


def _is_literal(term: Term) -> bool:
    return isinstance(term, int) or bool(_LITERAL.match(term))


def add(*terms: Term) -> str:
    """The sum of terms; literals are folded into one at the end."""
    constant = sum(int(term) for term in terms if _is_literal(term))
    rest = [str(term) for term in terms if not _is_literal(term)]
    if not rest:
        return str(constant)
    if constant:
        rest.append(str(abs(constant)))
        return " + ".join(rest[:-1]) + (" + " if constant > 0 else " - ") + rest[-1]
    return " + ".join(rest)


def mul(term: Term, factor: int) -> str:
    """A term times a literal."""
    if _is_literal(term):
        return str(int(term) * factor)
    if factor == 0:
        return "0"
    if factor == 1:
        return str(term)
    text = str(term)
    return f"{text} * {factor}" if _PRODUCT.match(text) else f"({text}) * {factor}"
