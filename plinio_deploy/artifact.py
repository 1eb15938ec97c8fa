# SPDX-License-Identifier: Apache-2.0
"""Generated files in memory: what a stage makes before anything is written."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from plinio_deploy.errors import OutputError


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part.

    Raises:
        OutputError: the folder cannot be created or the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(
            f"cannot write {path}",
            where=str(path),
            got=error.strerror or str(error),
            hints=("free some space, or name another folder with --out",),
        ) from error


@dataclass(frozen=True)
class Artifact:
    """A set of files; the same content always has the same digest.

    Attributes:
        files: content by relative POSIX path.
    """

    files: Mapping[str, bytes]

    def __post_init__(self) -> None:
        for name in self.files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or str(path) != name:
                raise ValueError(f"an artifact's path must be relative and plain, got {name!r}")

    def digest(self) -> str:
        """SHA-256 (hex) over the sorted paths and their contents."""
        state = hashlib.sha256()
        for name in sorted(self.files):
            content = self.files[name]
            state.update(f"{name}\0{len(content)}\0".encode())
            state.update(content)
        return state.hexdigest()

    def write(self, folder: Path) -> None:
        """Write every file below ``folder``, each atomically.

        Raises:
            OutputError: something cannot be written.
        """
        for name in sorted(self.files):
            write_atomically(folder / name, self.files[name])

    @staticmethod
    def read(folder: Path) -> Artifact:
        """The artifact that `write` left in a folder."""
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        return Artifact(files)
