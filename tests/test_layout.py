# SPDX-License-Identifier: Apache-2.0
"""The tests mirror the source, and every source file says under which licence it comes."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from ci.tree import ROOT, SOURCES, files, modules

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
UNTESTED: frozenset[str] = frozenset()
"""Modules that may go without a test file of their own, as ``folder/module.py``. Keep it empty."""


ISAS = {
    "dsp": "dsp",
    "mve": "mve",
    "rv32": "rv32",
    "xpulp": "rv32",
    "thumb": "thumb",
    "thumb1": "thumb",
    "thumb2": "thumb",
}
"""Parts of the names of kernels made for an instruction set, and what their common tests are called."""


def test_files(source: Path) -> list[Path]:
    """Where a module's tests may be.

    ``a/b/c.py`` has ``tests/a/b/test_c.py``, or is one of the parts of ``a/b`` that are tested together, through what
    the package offers: ``tests/a/test_b.py`` or ``tests/a/b/test_b.py``. Kernels for one instruction set are tested
    together, on the edge shapes that all of them have to take: ``tests/codegen/test_dsp.py`` and the like.
    """
    package = ROOT / "tests" / source.relative_to(ROOT).parent
    isas = [ISAS[part] for part in source.stem.split("_") if part in ISAS]
    if source.relative_to(ROOT).parts[0] == "codegen" and isas:
        return [package / f"test_{source.stem}.py", ROOT / "tests" / "codegen" / f"test_{isas[0]}.py"]
    together = [package.parent / f"test_{package.name}.py", package / f"test_{package.name}.py"]
    if source.name == "__init__.py":
        return together
    return [package / f"test_{source.stem.lstrip('_')}.py", *together]


test_files.__test__ = False  # type: ignore[attr-defined]  # a helper, whatever its name looks like


def packages_with_code() -> list[Path]:
    inits = (path for folder in SOURCES for path in files(folder, ".py") if path.name == "__init__.py")
    return [path for path in inits if any(isinstance(node, DEFINITIONS) for node in ast.parse(path.read_text()).body)]


def test_every_module_has_its_test_file() -> None:
    sources = [path for path in modules() + packages_with_code() if path.relative_to(ROOT).as_posix() not in UNTESTED]
    missing = [
        f"{source.relative_to(ROOT)} has no {test_files(source)[0].relative_to(ROOT)}"
        for source in sources
        if not any(path.is_file() for path in test_files(source))
    ]
    assert not missing, "\n".join(missing)


def test_every_test_file_tests_something() -> None:
    empty = [
        str(path.relative_to(ROOT))
        for path in files("tests", ".py")
        if path.name.startswith("test_") and "def test_" not in path.read_text(encoding="utf-8")
    ]
    assert not empty, "\n".join(empty)


def test_the_allow_list_names_files_that_exist() -> None:
    assert not [name for name in sorted(UNTESTED) if not (ROOT / name).is_file()]


@pytest.mark.parametrize("folder", [*SOURCES, "tests", "ci"])
def test_every_source_file_starts_with_its_licence(folder: str) -> None:
    line = "SPDX-License-Identifier: Apache-2.0"
    suffixes = (".py", ".c", ".h", ".S", ".ld", ".toml", ".j2", ".sh")
    bare = [
        str(path.relative_to(ROOT))
        for path in files(folder, *suffixes)
        if "golden" not in path.parts and line not in "\n".join(path.read_text(encoding="utf-8").splitlines()[:2])
    ]
    assert not bare, "\n".join(bare)
