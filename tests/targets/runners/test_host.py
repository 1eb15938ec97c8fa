# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from plinio_deploy.errors import DeviceError
from plinio_deploy.targets.runners.base import RunRequest
from plinio_deploy.targets.runners.host import HostRunner
from tests.firmware.benches import made, samples
from tests.firmware.fake_project import project, reference


@pytest.mark.host
def test_a_request_is_run(tmp_path: Path) -> None:
    built = made(project(), "host", tmp_path)
    inputs = samples(300)
    result = HostRunner().run(built.elf, RunRequest("outputs", b"".join(inputs), 300))
    assert result.outputs == b"".join(reference(sample)[-1] for sample in inputs)
    assert result.instructions is None


@pytest.mark.host
def test_inputs_of_another_size_are_refused(tmp_path: Path) -> None:
    built = made(project(), "host", tmp_path)
    with pytest.raises(DeviceError, match="did not understand the request") as caught:
        HostRunner().run(built.elf, RunRequest("outputs", bytes(15), 1))
    assert "header is not one of this network" in caught.value.what
