# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from ci.tree import PACKAGE, SOURCES, files, module_name, modules, packages


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for folder in SOURCES:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").touch()
    (tmp_path / PACKAGE / "targets").symlink_to("../targets")
    (tmp_path / "targets" / "runners").mkdir()
    for name in ("__init__.py", "qemu.py"):
        (tmp_path / "targets" / "runners" / name).touch()
    (tmp_path / "targets" / "__pycache__").mkdir()
    (tmp_path / "targets" / "__pycache__" / "old.py").touch()
    (tmp_path / "targets" / "m4.toml").touch()
    return tmp_path


def test_files_of_a_linked_folder_come_once(tree: Path) -> None:
    assert [path.name for path in files(PACKAGE, root=tree)] == ["__init__.py"]
    assert [path.name for path in files("targets", root=tree)] == ["__init__.py", "m4.toml", "__init__.py", "qemu.py"]
    assert [path.name for path in files("targets", ".toml", root=tree)] == ["m4.toml"]


def test_a_root_folder_is_imported_below_the_package(tree: Path) -> None:
    assert module_name(tree / "targets" / "runners" / "qemu.py", tree) == "plinio_deploy.targets.runners.qemu"
    assert module_name(tree / "targets" / "__init__.py", tree) == "plinio_deploy.targets"
    assert module_name(tree / PACKAGE / "network.py", tree) == "plinio_deploy.network"


def test_packages_and_modules(tree: Path) -> None:
    assert packages(tree) == sorted(
        ["plinio_deploy", *(f"plinio_deploy.{name}" for name in SOURCES[1:]), "plinio_deploy.targets.runners"]
    )
    assert modules(tree) == [tree / "targets" / "runners" / "qemu.py"]
