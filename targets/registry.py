# SPDX-License-Identifier: Apache-2.0
"""Finds targets: ours in `targets/boards/`, users' own in folders of `PLINIO_DEPLOY_TARGETS`, or a file by its path."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path

from plinio_deploy.errors import InvalidTargetFile, UnknownTarget
from plinio_deploy.targets.schema import Target, parse

FOLDERS_VARIABLE = "PLINIO_DEPLOY_TARGETS"
"""Environment variable: folders with target files, separated as in PATH. A file there hides ours of the same name."""

BOARDS = Path(__file__).resolve().parent / "boards"


def files() -> Mapping[str, Path]:
    """Target file by name, sorted by name.

    Raises:
        InvalidTargetFile: a folder that `PLINIO_DEPLOY_TARGETS` names does not exist.
    """
    found = {path.stem: path for path in BOARDS.glob("*.toml")}
    for entry in reversed(os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep)):
        if not entry:
            continue
        folder = Path(entry).expanduser()
        if not folder.is_dir():
            raise InvalidTargetFile(
                f"{FOLDERS_VARIABLE} names a folder that does not exist",
                where=str(folder),
                hints=("create the folder and put <name>.toml files into it", f"or unset {FOLDERS_VARIABLE}"),
            )
        found.update({path.stem: path for path in folder.glob("*.toml")})
    return dict(sorted(found.items()))


def names() -> tuple[str, ...]:
    """Names that `load` knows, sorted."""
    return tuple(files())


def load(name_or_path: str) -> Target:
    """Read one target.

    Args:
        name_or_path: a name out of `names`, or the path of a file that ends in `.toml`.

    Raises:
        UnknownTarget: there is no such name or file; close matches are in the hints.
        InvalidTargetFile: the file is there but wrong.
    """
    if name_or_path.endswith(".toml"):
        path = Path(name_or_path).expanduser()
    else:
        known = files()
        if name_or_path not in known:
            raise _unknown(name_or_path, tuple(known))
        path = known[name_or_path]
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UnknownTarget("there is no such target file", where=str(path)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidTargetFile("a target file cannot be read", where=str(path), got=str(error)) from error
    return parse(text, str(path))


def _unknown(name: str, known: tuple[str, ...]) -> UnknownTarget:
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hints = [f"did you mean {match!r}?" for match in close]
    hints.append(f"put {name}.toml into a folder that {FOLDERS_VARIABLE} names (targets/README.md says how)")
    return UnknownTarget(f"unknown target {name!r}", got=name, expected="one of " + ", ".join(known), hints=hints)
