# SPDX-License-Identifier: Apache-2.0
"""Write the list of packages in pyproject.toml from the tree: ``python -m ci.packages``, part of ``make format``."""

from __future__ import annotations

import re

from ci.tree import PACKAGE, ROOT, SOURCES, packages

_LIST = re.compile(rf'^packages = \[\n    "{PACKAGE}",\n.*?^\]\n', re.MULTILINE | re.DOTALL)


def in_reading_order(names: list[str]) -> list[str]:
    """Packages by folder as the data meets them, then by name."""

    def place(name: str) -> tuple[int, str]:
        folder = name.split(".")[1] if "." in name else ""
        return (SOURCES.index(folder) if folder in SOURCES else 0, name)

    return sorted(names, key=place)


def rewritten(text: str, names: list[str]) -> str:
    """The text of a pyproject.toml with another list of packages.

    Raises:
        ValueError: the text has no such list, or more than one.
    """
    lines = "".join(f'    "{name}",\n' for name in in_reading_order(names))
    result, count = _LIST.subn(f"packages = [\n{lines}]\n", text)
    if count != 1:
        raise ValueError(f"pyproject.toml has {count} lists of packages that start with {PACKAGE}, expected 1")
    return result


if __name__ == "__main__":
    path = ROOT / "pyproject.toml"
    path.write_text(rewritten(path.read_text(encoding="utf-8"), packages()), encoding="utf-8")
