# SPDX-License-Identifier: Apache-2.0
"""Compilers and emulators: one table of what exists, where it is looked for, and how it is installed."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from plinio_deploy.errors import ToolMissing


@dataclass(frozen=True)
class Tool:
    """A program that we start.

    Attributes:
        name: what our code and `doctor` call it.
        purpose: what does not work without it.
        variable: environment variable that names the executable; it wins over PATH.
        candidates: executables looked for in PATH, first match taken.
        package: Debian's package.
        version: pattern whose first group is the version in the first line of `--version`.
        needed: false for a tool that no stage needs, only tests.
    """

    name: str
    purpose: str
    variable: str
    candidates: tuple[str, ...]
    package: str
    version: str = r"(\d+\.\d+(?:\.\d+)?)"
    needed: bool = True

    @property
    def install(self) -> str:
        """The command that installs it on Debian and Ubuntu."""
        return f"sudo apt-get install {self.package}"


@dataclass(frozen=True)
class FoundTool:
    """A tool of this machine.

    Attributes:
        tool: its row in the table.
        path: the executable.
        version: e.g. `12.2.1`; empty if `--version` printed none.
        banner: first line of `--version`, which names the distribution's build.
    """

    tool: Tool
    path: str
    version: str
    banner: str


_GCC_VERSION = r"(\d+\.\d+\.\d+)(?!.*\d+\.\d+\.\d+)"
"""The last dotted triple: distributions put their own numbers in front of it."""

_ROWS = (
    Tool(
        "gcc-host", "host target, QEMU plugin", "PLINIO_DEPLOY_GCC_HOST", ("gcc", "cc"), "gcc libc6-dev", _GCC_VERSION
    ),
    Tool("gxx-host", "RTL targets", "PLINIO_DEPLOY_GXX_HOST", ("g++", "c++"), "g++", _GCC_VERSION, needed=False),
    Tool(
        "gcc-arm",
        "Cortex-M targets",
        "PLINIO_DEPLOY_GCC_ARM",
        ("arm-none-eabi-gcc",),
        "gcc-arm-none-eabi",
        _GCC_VERSION,
    ),
    Tool(
        "gcc-riscv",
        "RISC-V targets",
        "PLINIO_DEPLOY_GCC_RISCV",
        ("riscv64-unknown-elf-gcc", "riscv32-unknown-elf-gcc", "riscv-none-elf-gcc"),
        "gcc-riscv64-unknown-elf",
        _GCC_VERSION,
    ),
    Tool("qemu-arm", "running Cortex-M firmware", "PLINIO_DEPLOY_QEMU_ARM", ("qemu-system-arm",), "qemu-system-arm"),
    Tool(
        "qemu-riscv32",
        "running RISC-V firmware",
        "PLINIO_DEPLOY_QEMU_RISCV32",
        ("qemu-system-riscv32",),
        "qemu-system-misc",
    ),
    Tool(
        "clang",
        "compiling generated C a second time, in tests",
        "PLINIO_DEPLOY_CLANG",
        ("clang",),
        "clang",
        needed=False,
    ),
)

TOOLS: Mapping[str, Tool] = MappingProxyType({tool.name: tool for tool in _ROWS})
"""Every tool by name."""


def find(name: str) -> FoundTool | None:
    """Look for a tool of `TOOLS`.

    Returns:
        The tool, or `None` if it is not installed or its environment variable names nothing that can be executed.
    """
    tool = TOOLS[name]
    named = os.environ.get(tool.variable)
    path = next(filter(None, map(shutil.which, (named,) if named else tool.candidates)), None)
    if path is None:
        return None
    banner = _banner(path)
    match = re.search(tool.version, banner)
    return FoundTool(tool, path, match.group(1) if match else "", banner)


def require(name: str) -> FoundTool:
    """Like `find`, for a stage that cannot go on without the tool.

    Raises:
        ToolMissing: with the command that installs it.
    """
    found = find(name)
    if found is not None:
        return found
    tool = TOOLS[name]
    named = os.environ.get(tool.variable)
    if named:
        raise ToolMissing(
            f"{tool.variable} names something that cannot be executed",
            got=named,
            expected=f"the path of {tool.candidates[0]}, needed for: {tool.purpose}",
            hints=(f"unset {tool.variable} to search PATH", tool.install),
        )
    raise ToolMissing(
        f"{tool.candidates[0]} is not installed (needed for: {tool.purpose})",
        expected=" or ".join(tool.candidates) + " in PATH",
        hints=(tool.install, f"or set {tool.variable} to its path", "plinio-deploy doctor shows what else is missing"),
    )


def survey() -> tuple[tuple[Tool, FoundTool | None], ...]:
    """Every tool of the table with what was found, for `doctor`."""
    return tuple((tool, find(tool.name)) for tool in _ROWS)


@functools.cache
def _banner(path: str) -> str:
    """First line of ``path --version``; empty if it prints nothing or fails to start."""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.partition("\n")[0].strip()
