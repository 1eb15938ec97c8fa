# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

from ci.size import FUNCTION_LINES, MODULE_LINES, functions, over_budget, table
from ci.tree import SOURCES


def function(lines: int) -> str:
    """Source of a function of so many lines."""
    return "def f() -> None:\n" + "    pass\n" * (lines - 1)


def test_a_file_at_its_budget_passes(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(function(FUNCTION_LINES) + "x = 1\n" * (MODULE_LINES - FUNCTION_LINES))
    assert over_budget(path, tmp_path) == []


def test_one_line_more_fails(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(function(FUNCTION_LINES + 1) + "x = 1\n" * (MODULE_LINES - FUNCTION_LINES))
    assert over_budget(path, tmp_path) == [
        "module.py: 401 lines, at most 400",
        "module.py:1: f has 61 lines, at most 60",
    ]


def test_long_c_fails_too(tmp_path: Path) -> None:
    path = tmp_path / "start.c"
    path.write_text("int x;\n" * (MODULE_LINES + 1))
    assert over_budget(path, tmp_path) == ["start.c: 401 lines, at most 400"]


def test_docstrings_are_free_and_nested_functions_count() -> None:
    source = """
class A:
    def f(self):
        '''One.

        Two.
        '''

        def g():
            pass
"""
    assert list(functions(source)) == [("f", 3, 4), ("g", 9, 2)]


def test_the_table_has_a_row_per_folder(tmp_path: Path) -> None:
    for folder in (*SOURCES, "tests", "ci"):
        (tmp_path / folder).mkdir()
    (tmp_path / "firmware" / "start.c").write_text("int x;\nint y;\n")
    rows = {line.split()[0]: line.split()[1:] for line in table(tmp_path).splitlines()}
    assert rows["folder"] == ["files", "python", "C", "templates", "data"]
    assert rows["firmware"] == ["1", "0", "2", "0", "0"]
