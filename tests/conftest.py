# SPDX-License-Identifier: Apache-2.0
"""What every test stands on: reproducible hypothesis runs, one thread per worker, markers that know their tools."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
IN_CI = bool(os.environ.get("CI"))

# Two workers with as many threads each as there are cores would fight; set before anything imports numpy or torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# What the tool builds for itself stays out of the user's cache, and is built once for all workers.
os.environ["PLINIO_DEPLOY_CACHE"] = str(ROOT / "build" / "test-cache")
# A target folder of the user's own must not change what the tests see.
os.environ.pop("PLINIO_DEPLOY_TARGETS", None)

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci" if IN_CI else "dev")


TOOLS: dict[str, tuple[str, ...]] = {
    "host": ("gcc-host",),
    "qemu": ("gcc-host", "gcc-arm", "gcc-riscv", "qemu-arm", "qemu-riscv32"),
    "rtl": ("gxx-host", "gcc-riscv"),
}
"""What a marker's tests start, by the names of `plinio_deploy.targets.toolchains.TOOLS`."""
ALWAYS_THERE_IN_CI = {"host", "qemu", "rtl"}
"""Markers whose tools ci/setup.sh installs: in CI their tests run and fail, they are never skipped."""


def reason_to_skip(marker: str) -> str | None:
    """Why tests with a marker cannot run here, as one sentence with the command that helps; None if they can."""
    if marker == "board":
        return None if os.environ.get("PLINIO_DEPLOY_BOARD") else "no board: set PLINIO_DEPLOY_BOARD to its serial port"
    if marker == "gpu":
        import torch

        return None if torch.cuda.is_available() else "no CUDA device"
    if marker == "rtl":
        from plinio_deploy.targets.rtl import cores, simulator

        if simulator.find() is None or len(cores.installed()) < len(cores.CORES):
            return f"Verilator or a core is not installed; try: {cores.INSTALL}"
    from plinio_deploy.targets import toolchains

    missing = [toolchains.TOOLS[name] for name in TOOLS.get(marker, ()) if toolchains.find(name) is None]
    if not missing:
        return None
    names, packages = (" ".join(getattr(tool, part) for tool in missing) for part in ("name", "package"))
    return f"not installed: {names}; try: apt-get install {packages}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what cannot run here, and say what is missing."""
    reasons: dict[str, str | None] = {}
    for item in items:
        for marker in ("host", "qemu", "rtl", "board", "gpu"):
            if item.get_closest_marker(marker) is None or (IN_CI and marker in ALWAYS_THERE_IN_CI):
                continue
            if marker not in reasons:
                reasons[marker] = reason_to_skip(marker)
            if (reason := reasons[marker]) is not None:
                item.add_marker(pytest.mark.skip(reason=reason))
