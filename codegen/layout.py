# SPDX-License-Identifier: Apache-2.0
"""Indentation of the generated C, so that templates need not care: four spaces per brace, no blank lines inside."""

from __future__ import annotations

import re
from collections.abc import Sequence

WIDTH = 110
"""Statements longer than this are continued on the next line."""

LITERAL = 2800
"""Characters after which a string literal is ended; C99 promises 4095."""

_STEP = "    "
_INVISIBLE = re.compile(r'"(?:\\.|[^"\\])*"|/\*.*?\*/')
_LABEL = re.compile(r"(case .*|default):\Z")
_NO_LABEL = 1 << 30
_BREAK = re.compile(r"(?<=,) | (?=[?:] )| (?=&& )| (?=\+ )")


def tidy(text: str) -> str:
    """Indent C by its braces, drop blank lines within braces, and continue long statements.

    Args:
        text: C whose indentation does not matter. A block comment that spans lines starts each with ``*``.

    Returns:
        The same tokens; ends in one newline.
    """
    lines: list[str] = []
    depth = parens = 0
    label = _NO_LABEL
    in_comment = False
    for raw in text.splitlines():
        line = raw.strip()
        if in_comment or line.startswith("/*"):
            lines.append(_STEP * depth + (" " if in_comment and line.startswith("*") else "") + line)
            in_comment = "*/" not in line
            continue
        if line.startswith("#") or not (line or depth):
            lines.append(line)
        if line.startswith("#") or not line:
            continue
        visible = _INVISIBLE.sub("", line)
        closing = len(visible) - len(visible.lstrip("}"))
        level = max(0, depth - closing)
        is_label = bool(_LABEL.match(line))
        if level < label:
            label = _NO_LABEL
        label = level if is_label else label
        level += (1 if parens else 0) + (1 if level >= label and not is_label else 0)
        lines.extend(_continued(_STEP * level + line))
        if not line.startswith("extern "):
            depth = max(0, depth + visible.count("{") - visible.count("}"))
        parens += visible.count("(") - visible.count(")")
    return "\n".join(_spaced(lines)) + "\n"


def _continued(line: str) -> list[str]:
    """A statement on as many lines as it needs, each after the first one step further in.

    It is broken where the fewest parentheses are open, and there as late as the width allows; never inside of a string.
    """
    pieces: list[str] = []
    indent = line[: len(line) - len(line.lstrip())]
    while len(line) > WIDTH:
        whole = [range(*match.span()) for match in _INVISIBLE.finditer(line)]
        places = [match.start() for match in _BREAK.finditer(line) if len(indent) + 8 < match.start() <= WIDTH]
        breaks = [place for place in places if not any(place in span for span in whole)]
        if not breaks:
            break
        best = min(breaks, key=lambda place: (line.count("(", 0, place) - line.count(")", 0, place), -place))
        pieces.append(line[:best])
        line = indent + _STEP + line[best + 1 :]
        if not pieces[1:]:
            indent += _STEP
            line = indent + line.lstrip()
    return [*pieces, line]


def _spaced(lines: list[str]) -> list[str]:
    """No blank lines at the start, at the end, or doubled."""
    kept: list[str] = []
    for line in lines:
        if line or (kept and kept[-1]):
            kept.append(line)
    while kept and not kept[-1]:
        kept.pop()
    return kept


def pieces(lines: Sequence[str], size: int = LITERAL) -> list[list[str]]:
    """Lines of assembly in groups that fit a string literal; what ``.rept`` repeats stays together."""
    found: list[list[str]] = [[]]
    depth = length = 0
    for line in lines:
        if depth == 0 and length > size:
            found.append([])
            length = 0
        depth += {".rept": 1, ".endr": -1}.get(line.split(" ")[0], 0)
        found[-1].append(line)
        length += len(line) + 1
    return found


def columns(values: tuple[int, ...], width: int = WIDTH - 4) -> str:
    """Numbers, comma separated, as many to a line as fit."""
    lines: list[str] = []
    line = ""
    for value in values:
        text = f"{value}," if value != -(1 << 31) else "(-2147483647 - 1),"
        if line and len(line) + 1 + len(text) > width:
            lines.append(line)
            line = text
        else:
            line = f"{line} {text}" if line else text
    return "\n".join([*lines, line]).rstrip(",")
