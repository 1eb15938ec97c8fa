# SPDX-License-Identifier: Apache-2.0
"""Starting an emulator or a native bench, with a limit on its time."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from plinio_deploy.errors import OutputError
from plinio_deploy.targets.runners import wire
from plinio_deploy.targets.runners.base import RunRequest

SECONDS_PER_SAMPLE = 2.0
"""Added to a request's limit for each sample, so that many samples do not look like a hang."""


@dataclass(frozen=True)
class Ended:
    """A process that ended by itself: its exit status and what it printed (both streams)."""

    code: int
    console: str


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder for a run's files; it goes when the run is over.

    Raises:
        OutputError: it cannot be made or written, or a program cannot be started.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="plinio-deploy-") as name:
            yield Path(name)
    except OSError as error:
        raise OutputError(
            "the files of a run cannot be written or its program not be started",
            where=str(error.filename or tempfile.gettempdir()),
            got=error.strerror or str(error),
            hints=("free some space, or set TMPDIR to another folder",),
        ) from error


def run(command: Sequence[str], folder: Path, request: RunRequest) -> Ended:
    """Run a command in a folder until it ends.

    Raises:
        DeviceError: it did not end in time; it has been killed.
    """
    limit = request.timeout_s + SECONDS_PER_SAMPLE * (request.samples - 1)
    with subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            printed, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired as error:
            process.kill()
            printed, _ = process.communicate()
            raise wire.failure(
                f"the firmware did not end within {limit:g} s ({request.samples} samples) and was stopped",
                printed.decode(errors="replace"),
                hints=("look for a loop that does not end; the host target and a debugger show where it is",),
            ) from error
        except BaseException:
            process.kill()
            raise
    return Ended(process.returncode, printed.decode(errors="replace"))
