# SPDX-License-Identifier: Apache-2.0
"""The public names, and that they come late."""

from __future__ import annotations

import subprocess
import sys

import pytest

import plinio_deploy


def test_every_public_name_is_there() -> None:
    for name in plinio_deploy.__all__:
        assert getattr(plinio_deploy, name) is not None
        assert name in dir(plinio_deploy)


def test_the_names_are_those_of_their_modules() -> None:
    from plinio_deploy.search import cost, regularizers, training
    from plinio_deploy.search.methods.pit import PIT
    from plinio_deploy.search.methods.supernet import SuperNet, SuperNetModule

    assert plinio_deploy.PIT is PIT
    assert plinio_deploy.SuperNet is SuperNet
    assert plinio_deploy.SuperNetModule is SuperNetModule
    assert plinio_deploy.cost is cost
    assert plinio_deploy.regularizers is regularizers
    assert plinio_deploy.training is training


def test_an_unknown_name_is_refused_as_by_any_module() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        plinio_deploy.nonsense  # noqa: B018  # looking it up is the test


def test_importing_the_package_loads_no_torch_until_a_name_needs_it() -> None:
    code = (
        "import sys, plinio_deploy; assert 'torch' not in sys.modules; "
        "from plinio_deploy import SuperNetModule; assert 'torch' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
