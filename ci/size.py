# SPDX-License-Identifier: Apache-2.0
"""Lines per folder, and a failure for every module or function that has grown past its budget.

Run as ``python -m ci.size``. A module counts with everything in it; a function counts without its docstring.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from ci.tree import ROOT, SOURCES, files

MODULE_LINES = 400
FUNCTION_LINES = 60
COUNTED = {".py": "python", ".c": "C", ".h": "C", ".S": "C", ".j2": "templates", ".toml": "data", ".ld": "C"}
FOLDERS = (*SOURCES, "tests", "ci")


def functions(source: str) -> Iterator[tuple[str, int, int]]:
    """``(name, first line, lines without the docstring)`` of every function and method, nested ones included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if ast.get_docstring(node) is not None:
                text = node.body[0]
                lines -= (text.end_lineno or text.lineno) - text.lineno + 1
            yield node.name, node.lineno, lines


def over_budget(path: Path, root: Path = ROOT) -> list[str]:
    """One sentence per budget that a file breaks; functions are looked at in Python files only."""
    source = path.read_text(encoding="utf-8")
    where, lines = path.relative_to(root).as_posix(), len(source.splitlines())
    found = [f"{where}: {lines} lines, at most {MODULE_LINES}"] if lines > MODULE_LINES else []
    if path.suffix == ".py":
        found += [
            f"{where}:{line}: {name} has {length} lines, at most {FUNCTION_LINES}"
            for name, line, length in functions(source)
            if length > FUNCTION_LINES
        ]
    return found


def table(root: Path = ROOT) -> str:
    """Files and lines per folder and kind, one row per folder."""
    kinds = list(dict.fromkeys(COUNTED.values()))
    rows = [["folder", "files", *kinds]]
    for folder in FOLDERS:
        counts = dict.fromkeys(kinds, 0)
        counted = [path for path in files(folder, root=root) if path.suffix in COUNTED]
        for path in counted:
            counts[COUNTED[path.suffix]] += len(path.read_text(encoding="utf-8").splitlines())
        rows.append([folder, str(len(counted)), *map(str, counts.values())])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(cells)


def main() -> int:
    """Print the table, then what is over budget; 1 if anything is."""
    print(table())
    budgeted = [path for folder in FOLDERS for path in files(folder, ".py", ".c", ".h", ".S", ".j2")]
    found = [sentence for path in budgeted if "golden" not in path.parts for sentence in over_budget(path)]
    for sentence in found:
        print(sentence, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
