# SPDX-License-Identifier: Apache-2.0
"""What can be made again is kept in the user's cache folder: each file made once, whole or not at all."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs

from plinio_deploy.errors import OutputError

CACHE_VARIABLE = "PLINIO_DEPLOY_CACHE"
"""Environment variable: folder for what can be made again."""


def folder(kind: str) -> Path:
    """Where files of a kind are kept; it may not exist yet."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_path("plinio-deploy")) / kind


def file(kind: str, name: str, make: Callable[[Path], Path]) -> Path:
    """A file of the cache, made if it is not there.

    Two processes that want the same file at once do not both make it: the second waits for the first.

    Args:
        kind: subfolder.
        name: the file's name; it must say all that the content depends on, best by a digest.
        make: makes the file somewhere below the folder that it is given, and returns its path.

    Raises:
        OutputError: the cache cannot be written.
    """
    place = folder(kind)
    path = place / name
    if path.exists():
        return path
    try:
        place.mkdir(parents=True, exist_ok=True)
        with (place / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the system lets go of it when the process ends, however it ends
            if not path.exists():
                with tempfile.TemporaryDirectory(dir=place) as scratch:
                    make(Path(scratch)).replace(path)
    except OSError as error:
        raise OutputError(
            "the cache cannot be written",
            where=str(place),
            got=error.strerror or str(error),
            hints=(f"set {CACHE_VARIABLE} to a folder that can be written",),
        ) from error
    return path
