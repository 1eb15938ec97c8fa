# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from plinio_deploy.errors import UsageError
from plinio_deploy.targets import registry, runners
from plinio_deploy.targets.schema import Target


@pytest.mark.parametrize(
    ("target", "name"),
    [
        pytest.param("host", "host"),
        pytest.param("cortex-m4", "qemu", marks=pytest.mark.qemu),
        pytest.param("rv32imc", "qemu", marks=pytest.mark.qemu),
    ],
)
def test_the_runner_is_the_targets(target: str, name: str) -> None:
    assert runners.for_target(registry.load(target)).name == name


def test_a_target_that_is_only_built_for() -> None:
    board = registry.load("cortex-m4")
    only_built = Target.model_validate({**board.model_dump(), "runner": "none", "qemu": None})
    with pytest.raises(UsageError, match="nothing here executes its firmware"):
        runners.for_target(only_built)
