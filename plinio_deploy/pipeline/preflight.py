# SPDX-License-Identifier: Apache-2.0
"""What can be known to fail before anything is trained or written."""

from __future__ import annotations

from collections.abc import Sequence

from plinio_deploy.targets import registry, runners, toolchains
from plinio_deploy.targets.schema import Target


def load_targets(names: Sequence[str]) -> tuple[Target, ...]:
    """The targets by name or path, each once.

    Raises:
        UnknownTarget, InvalidTargetFile: see `plinio_deploy.targets.registry.load`.
    """
    found = {target.name: target for target in map(registry.load, names)}
    return tuple(found.values())


def require_tools(targets: Sequence[Target], *, measuring: bool) -> None:
    """Look for every compiler and emulator that the targets take.

    Args:
        targets: what will be built for.
        measuring: whether their firmware will also be run.

    Raises:
        ToolMissing: with the command that installs it.
        UsageError: a target's firmware cannot be run here.
    """
    for target in targets:
        toolchains.require(target.toolchain)
        if measuring:
            runners.for_target(target)
            if target.runner == "qemu":
                toolchains.require("gcc-host")  # compiles the instruction counter
