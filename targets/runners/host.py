# SPDX-License-Identifier: Apache-2.0
"""Runs the bench as a program of this machine."""

from __future__ import annotations

from pathlib import Path

from plinio_deploy.targets import elf as elf_file
from plinio_deploy.targets.runners import process, wire
from plinio_deploy.targets.runners.base import RunRequest, RunResult


class HostRunner:
    """Native execution; counts no instructions."""

    name = "host"

    def run(self, elf: Path, request: RunRequest) -> RunResult:
        """Run every sample of the request; see `base.Runner`."""
        with process.scratch() as folder:
            (folder / "request").write_bytes(wire.encode(request))
            ended = process.run([str(elf.resolve()), "request", "response"], folder, request)
            if ended.code != 0:
                raise wire.exit_failure(ended.code, ended.console, elf_file.read(elf))
            response = wire.decode((folder / "response").read_bytes(), request, console=ended.console)
        return RunResult(response.outputs, response.sample_bytes, response.stack_peak_bytes, None, {}, ended.console)
