# SPDX-License-Identifier: Apache-2.0
"""Builds and runs small projects on targets, for tests."""

from __future__ import annotations

import random
from pathlib import Path

from plinio_deploy.targets import registry, runners
from plinio_deploy.targets.build import BuildResult, build
from plinio_deploy.targets.runners.base import CountRequest, Mode, RunRequest, RunResult, count_request
from tests.firmware.fake_project import INPUT_BYTES, FakeProject

EMULATED = ("cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55", "rv32imc")


def samples(count: int) -> list[bytes]:
    """Inputs of the fake project, always the same."""
    numbers = random.Random(7)
    return [numbers.randbytes(INPUT_BYTES) for _ in range(count)]


def made(project: FakeProject, target: str, folder: Path) -> BuildResult:
    """The project's firmware for a target, by name or path."""
    return build(project.artifact, project.inputs, registry.load(target), folder)


def counting(project: FakeProject, built: BuildResult) -> CountRequest:
    """Count every layer of the project."""
    return count_request(built.image, [layer.symbol for layer in project.inputs.layers], prefix="net")


def ran(
    built: BuildResult,
    target: str,
    inputs: list[bytes],
    *,
    mode: Mode = "outputs",
    count: CountRequest | None = None,
    timeout_s: float = 60.0,
) -> RunResult:
    """The firmware's answer to some inputs."""
    request = RunRequest(mode, b"".join(inputs), len(inputs), count, timeout_s)
    return runners.for_target(registry.load(target)).run(built.elf, request)
