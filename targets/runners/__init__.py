# SPDX-License-Identifier: Apache-2.0
"""What executes a firmware: one module per way, chosen by the target's `runner`."""

from __future__ import annotations

from plinio_deploy.errors import UsageError
from plinio_deploy.targets.runners.base import Runner
from plinio_deploy.targets.runners.host import HostRunner
from plinio_deploy.targets.runners.qemu import QemuRunner
from plinio_deploy.targets.runners.rtl import RtlRunner
from plinio_deploy.targets.schema import Target


def for_target(target: Target) -> Runner:
    """The runner that a target names.

    Raises:
        UsageError: the target can only be built for.
        ToolMissing: the emulator or simulator is not installed.
    """
    if target.runner == "host":
        return HostRunner()
    if target.runner == "qemu":
        return QemuRunner(target)
    if target.runner == "rtl":
        return RtlRunner(target)
    raise UsageError(
        f"{target.name} can be built for, but nothing here executes its firmware",
        where=target.source,
        got=f"runner = {target.runner!r}",
        expected="runner = 'qemu', 'rtl' or 'host'",
        hints=("add a [qemu] table to the target's file if QEMU has a machine with this core",),
    )
