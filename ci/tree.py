# SPDX-License-Identifier: Apache-2.0
"""The folders of the repository, and how a file in one of them is imported."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "plinio_deploy"
LINKED = ("search", "codegen", "targets", "firmware")
"""Folders at the root that are imported as ``plinio_deploy.<folder>`` through a committed link."""
SOURCES = (PACKAGE, *LINKED)
"""Folders that go into the wheel, in reading order."""


def files(folder: str, *suffixes: str, root: Path = ROOT) -> Iterator[Path]:
    """Files below a folder of the root, sorted; links to other folders and caches are not entered.

    Args:
        folder: relative to the root.
        suffixes: such as ``.py``; none means every file.
        root: of the checkout.
    """
    for path in sorted((root / folder).iterdir()):
        if path.is_dir():
            if not path.is_symlink() and path.name not in {"__pycache__", "__snapshots__"}:
                yield from files(str(path.relative_to(root)), *suffixes, root=root)
        elif not suffixes or path.suffix in suffixes:
            yield path


def module_name(path: Path, root: Path = ROOT) -> str:
    """The one name under which a source file may be imported: ``search/a/b.py`` is ``plinio_deploy.search.a.b``."""
    parts = path.relative_to(root).with_suffix("").parts
    if parts[0] in LINKED:
        parts = (PACKAGE, *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def packages(root: Path = ROOT) -> list[str]:
    """Every package of the tree, as ``[tool.setuptools] packages`` must list them; sorted."""
    return sorted(
        module_name(path, root) for folder in SOURCES for path in files(folder, ".py", root=root) if _is_init(path)
    )


def modules(root: Path = ROOT) -> list[Path]:
    """Every Python source file that is not the ``__init__.py`` of a package; sorted within its folder."""
    return [path for folder in SOURCES for path in files(folder, ".py", root=root) if not _is_init(path)]


def _is_init(path: Path) -> bool:
    return path.name == "__init__.py"
