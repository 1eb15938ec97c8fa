# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from plinio_deploy.cli import main

RECIPES = Path(__file__).resolve().parent / "recipes"
Trained = Callable[[str], Path]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The folder of a run whose recipe is trained and integerized; trained once for all workers of this session."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base

    def train(recipe: str) -> Path:
        out = shared / f"trained-{Path(recipe).stem}"
        with (shared / f"{out.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert main(["integerize", recipe, "--out", str(out), "--quiet"]) == 0
        return out

    return train


@pytest.fixture
def run_of(trained: Trained, tmp_path: Path) -> Callable[[str], Path]:
    """A folder of one's own that starts from the trained network."""

    def copy(recipe: str) -> Path:
        out = tmp_path / "out"
        shutil.copytree(trained(recipe), out)
        return out

    return copy
