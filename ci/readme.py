# SPDX-License-Identifier: Apache-2.0
"""The README promises only what exists: its `make` targets, its `plinio-deploy` verbs, its files and folders.

Run as ``python -m ci.readme``. A shell block right below ``<!-- run -->`` is also executed, by tests/ci/test_readme.py.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ci.tree import ROOT

RUN_MARK = "<!-- run -->"
_BLOCK = re.compile(
    rf"(?P<mark>{re.escape(RUN_MARK)}\n)?^```(?:sh|console)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
_INLINE = re.compile(r"(?<!`)`((?:make|plinio-deploy) [^`]+)`")
_LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)[^)]*\)")
_CODE = re.compile(r"`([^`]+)`")
_FOLDER_ROW = re.compile(r"^\| (`[^|]+/`) \|.*\| ([^|]+) \|$", re.MULTILINE)
_MAKE_TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)
_PLACEHOLDER = re.compile(r"\bT(?:ODO|BD)\b")


@dataclass(frozen=True)
class Block:
    """A shell block of a Markdown page.

    Attributes:
        commands: its lines without prompts and comments.
        run: whether the tests execute it.
    """

    commands: tuple[str, ...]
    run: bool


def blocks(text: str) -> Iterator[Block]:
    """Every shell block of a Markdown page, in order."""
    for match in _BLOCK.finditer(text):
        joined = match["body"].replace("\\\n", " ")
        lines = (line.removeprefix("$ ").split("  #")[0].strip() for line in joined.splitlines())
        yield Block(tuple(line for line in lines if line and not line.startswith("#")), match["mark"] is not None)


def commands(text: str) -> list[list[str]]:
    """Every `make` and `plinio-deploy` command of a page, in blocks and inline, split into words."""
    found = [command for block in blocks(text) for command in block.commands]
    found += _INLINE.findall(text)
    return [words for words in map(shlex.split, found) if words[:1] in (["make"], ["plinio-deploy"])]


def make_targets(makefile: str) -> set[str]:
    """Targets that a Makefile defines."""
    return set(_MAKE_TARGET.findall(makefile))


def problems(text: str, targets: set[str], verbs: Sequence[str], root: Path = ROOT) -> list[str]:
    """One sentence per promise of a page that the repository does not keep.

    Args:
        text: the page, Markdown.
        targets: what the Makefile defines.
        verbs: what `plinio-deploy` takes as its first word.
        root: where the page's relative links start.
    """
    found = []
    for words in commands(text):
        known = targets if words[0] == "make" else set(verbs)
        named = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
        checked = named if words[0] == "make" else named[:1]
        found += [f"README.md: `{words[0]} {word}` does not exist" for word in checked if word not in known]
    found += [f"README.md: {link} does not exist" for link in _LINK.findall(text) if not (root / link).exists()]
    found += [f"README.md: {path} does not exist" for path in _table_paths(text) if not any(root.glob(path))]
    found += [f"README.md: unfinished: {mark}" for mark in _PLACEHOLDER.findall(text)]
    return found


def _table_paths(text: str) -> Iterator[str]:
    """Paths, as glob patterns, that a table of folders names: each row's folders, and its last cell's files in them."""
    for first, last in _FOLDER_ROW.findall(text):
        folders = [folder.rstrip("/") for folder in _CODE.findall(first)]
        yield from folders
        for name in _CODE.findall(last):
            yield name if name.startswith(f"{folders[-1]}/") else f"{folders[-1]}/{name}".rstrip("/")


def cli_verbs() -> list[str]:
    """First words that the installed command line takes."""
    from typer.main import get_command

    from plinio_deploy.cli.app import app

    return sorted(getattr(get_command(app), "commands", {}))


def version_problems(root: Path = ROOT) -> list[str]:
    """A sentence if the newest heading of the changelog is not the version of the package."""
    import plinio_deploy

    heading = re.search(r"^## (\S+)", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    newest = heading[1] if heading else "nothing"
    if newest == plinio_deploy.__version__:
        return []
    return [f"CHANGELOG.md: the newest heading is {newest}, the package is {plinio_deploy.__version__}"]


def main() -> int:
    """Print every broken promise; 1 if there is one."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = make_targets((ROOT / "Makefile").read_text(encoding="utf-8"))
    found = problems(text, targets, cli_verbs()) + version_problems()
    for sentence in found:
        print(sentence, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
