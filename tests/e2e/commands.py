# SPDX-License-Identifier: Apache-2.0
"""The command line as a process that can be killed, and what it leaves on disk.

Processes are forked from the test, which has torch loaded already: starting one takes no time.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from plinio_deploy.cli import main

PATIENCE_S = 120.0


@dataclass
class Child:
    """A command in a process of its own.

    Attributes:
        pid: number of the process.
        out, err: files that take its output.
        status: exit status, negative for a signal; ``None`` while it runs.
    """

    pid: int
    out: Path
    err: Path
    status: int | None = None

    def running(self) -> bool:
        """Whether it has not ended yet."""
        if self.status is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is None

    def stop_when(self, reached: Callable[[], bool], number: signal.Signals) -> bool:
        """Send a signal as soon as a condition holds; false if the process ended before that."""
        end = time.monotonic() + PATIENCE_S
        while self.running():
            if reached():
                os.kill(self.pid, number)
                return True
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
                raise TimeoutError("the process did not get that far")
            time.sleep(0.001)
        return False

    def finish(self) -> tuple[int, str, str]:
        """Wait for the end: exit status, stdout and stderr."""
        self.stop_when(lambda: False, signal.SIGKILL)
        assert self.status is not None
        return self.status, self.out.read_text(encoding="utf-8"), self.err.read_text(encoding="utf-8")


def start(*words: str, before: Callable[[], None] = lambda: None) -> Child:
    """Start a command.

    Args:
        words: without the program's name.
        before: called in the new process first.
    """
    folder = Path(tempfile.mkdtemp(prefix="plinio-deploy-test-"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of threads; those here only wait
        pid = os.fork()
    if pid:
        return Child(pid, folder / "out", folder / "err")
    code = 99
    try:
        sys.stdout = (folder / "out").open("w", encoding="utf-8", buffering=1)
        sys.stderr = (folder / "err").open("w", encoding="utf-8", buffering=1)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit a deaf one
        before()
        code = main(list(words))
    except BaseException:  # noqa: BLE001 (nothing may get out of the fork into the test runner)
        traceback.print_exc()
    finally:
        os._exit(code)


def run(*words: str, before: Callable[[], None] = lambda: None) -> tuple[int, str, str]:
    """Start a command and wait: exit status, stdout and stderr."""
    return start(*words, before=before).finish()


def results(out: Path) -> dict[str, bytes]:
    """Every finished file of a run by its path; work folders are left out."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and ".work" not in path.relative_to(out).parts
    }
