# SPDX-License-Identifier: Apache-2.0
"""The table of cores: complete, and clear about what is missing."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from plinio_deploy.errors import ToolMissing
from plinio_deploy.targets.rtl.cores import CORES, installed
from plinio_deploy.targets.rtl.model import TESTBENCH
from plinio_deploy.targets.schema import Rtl


def test_a_target_may_name_every_core_and_no_other() -> None:
    assert set(get_args(Rtl.model_fields["core"].annotation)) == set(CORES)


@pytest.mark.parametrize("name", CORES)
def test_every_wrapper_is_there(name: str) -> None:
    assert all((TESTBENCH / source).is_file() for source in CORES[name].wrapper)


@pytest.mark.rtl
@pytest.mark.parametrize("name", CORES)
def test_every_source_and_folder_is_in_the_package(name: str) -> None:
    core = CORES[name]
    root = core.root()
    sources = core.sources(root)
    assert sources
    assert [str(path) for path in sources if not path.is_file()] == []
    assert [include for include in core.includes if not (root / include).is_dir()] == []
    assert core.version
    assert core in installed()


def test_a_missing_package_is_named_with_the_command_that_installs_it() -> None:
    core = replace(CORES["ibex"], package="pythondata_cpu_of_nobody")
    with pytest.raises(ToolMissing) as caught:
        core.root()
    assert "RTL of Ibex" in caught.value.what
    assert "pythondata-cpu-of-nobody" in str(caught.value.expected)
    assert caught.value.hints[0] == "pip install 'plinio-deploy[rtl]'"
    assert core.version == ""
