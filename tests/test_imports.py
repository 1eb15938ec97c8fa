# SPDX-License-Identifier: Apache-2.0
"""What must start fast, and without torch, does."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ci.tree import LINKED, ROOT

HEAVY = ("torch", "sklearn", "scipy", "matplotlib")

WITHOUT_TORCH = (
    "plinio_deploy",
    "plinio_deploy.cli",
    "plinio_deploy.pipeline",
    "plinio_deploy.network",
    "plinio_deploy.interpreter",
    "plinio_deploy.storage",
    "plinio_deploy.recipe",
    "plinio_deploy.measure",
    "plinio_deploy.report",
    "plinio_deploy.codegen",
    "plinio_deploy.targets",
    "plinio_deploy.targets.registry",
    "plinio_deploy.targets.build",
)

VERBS = ("--help", "generate --help", "build --help", "measure --help", "run --help", "targets list", "--version")


def loaded(statement: str) -> str:
    """Which of the heavy packages a fresh interpreter has loaded after a statement, and of the forbidden names."""
    code = f"import sys\n{statement}\nprint('LOADED', *[n for n in {(*HEAVY, *LINKED)!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].removeprefix("LOADED").strip()


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_a_module_imports_without_torch(module: str) -> None:
    assert loaded(f"import {module}") == ""


@pytest.mark.parametrize("arguments", VERBS)
def test_a_verb_answers_without_torch(arguments: str) -> None:
    statement = f"""
from plinio_deploy.cli import main
sys.argv = ["plinio-deploy", *{arguments!r}.split()]
try:
    main()
except SystemExit as exit:
    assert not exit.code, exit.code
"""
    assert loaded(statement) == ""


def test_the_probe_sees_torch() -> None:
    assert "torch" in loaded("import torch").split()
