# SPDX-License-Identifier: Apache-2.0
"""The instruction counter: our TCG plugin for QEMU, built on first use; the C side is firmware/qemu_plugin/count.c."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from plinio_deploy.errors import BuildFailed, DeviceError
from plinio_deploy.targets import cache, toolchains
from plinio_deploy.targets.build import FIRMWARE
from plinio_deploy.targets.runners import ranges, wire
from plinio_deploy.targets.runners.base import CountRequest, InstructionCounts

_FLAGS = ("-std=gnu99", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden")
_RANGES, _COUNTS = "ranges.txt", "counts.txt"


def interface_version(qemu: str) -> int:
    """Version of QEMU's plugin interface to announce to a release of QEMU.

    The functions that we call are the same in all of them; releases from 9.0 on refuse plugins that announce version 1.
    """
    major = qemu.partition(".")[0]
    return 2 if major.isdigit() and int(major) >= 9 else 1


def library(qemu: str) -> Path:
    """The plugin as a shared library, compiled if this version of it is not in the cache.

    Args:
        qemu: version of the emulator that is to load it.

    Raises:
        ToolMissing: there is no host compiler.
        BuildFailed: it refused the plugin.
        OutputError: the cache cannot be written.
    """
    compiler = toolchains.require("gcc-host")
    sources = sorted((FIRMWARE / "qemu_plugin").glob("*.[ch]"))
    flags = [*_FLAGS, f"-DQEMU_API_VERSION={interface_version(qemu)}"]
    state = hashlib.sha256("\0".join([compiler.path, compiler.banner, *flags]).encode())
    for source in sources:
        state.update(source.read_bytes())

    def make(scratch: Path) -> Path:
        made = scratch / "count.so"
        names = [str(source) for source in sources if source.suffix == ".c"]
        done = subprocess.run([compiler.path, *flags, *names, "-o", str(made)], capture_output=True, text=True)
        if done.returncode != 0:
            raise BuildFailed("the host compiler refused the QEMU plugin", got="\n" + done.stderr.strip()[:2000])
        return made

    return cache.file("qemu_plugin", f"count-{state.hexdigest()[:16]}.so", make)


def options(folder: Path, request: CountRequest, qemu: str) -> list[str]:
    """Write the ranges into a folder and return QEMU's options; it must be started in that folder."""
    ranges.write(folder / _RANGES, request)
    path = str(library(qemu)).replace(",", ",,")  # how QEMU wants a comma inside a value
    return ["-plugin", f"{path},ranges={_RANGES},out={_COUNTS}"]


def refused(console: str) -> DeviceError:
    """The error for an emulator that would not load the plugin."""
    return wire.failure(
        "QEMU did not accept the instruction counter",
        console,
        hints=("use a QEMU that was built with --enable-plugins, as Debian's is", "plinio-deploy doctor"),
    )


def read_counts(folder: Path, request: CountRequest, *, console: str) -> InstructionCounts:
    """Read what the plugin left in a folder.

    Raises:
        DeviceError: it left nothing, or the entry function was not called, or did not return.
    """
    path = folder / _COUNTS
    if not path.exists():
        raise refused(console)
    found = dict(line.split() for line in path.read_text().splitlines())
    if (found.pop("entered"), found.pop("finished")) != ("1", "1"):
        raise ranges.incomplete(request, console=console)
    counts = {int(key): int(value) for key, value in found.items()}
    return InstructionCounts(sum(counts.values()), ranges.by_symbol(counts, request))
