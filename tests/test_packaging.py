# SPDX-License-Identifier: Apache-2.0
"""What is installed is what is in the tree, under one name each."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from ci.tree import LINKED, PACKAGE, ROOT, SOURCES, files, packages

DATA_SUFFIXES = (".j2", ".toml", ".json", ".c", ".h", ".S", ".ld", ".cpp", ".v", ".sv", ".mk")


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def shipped(path: Path) -> str:
    """Where a source file lies in the wheel."""
    relative = path.relative_to(ROOT)
    return (Path(PACKAGE) / relative if relative.parts[0] in LINKED else relative).as_posix()


def test_the_listed_packages_are_those_of_the_tree() -> None:
    listed = sorted(project()["tool"]["setuptools"]["packages"])
    assert listed == packages(), "the command `make format` writes the list"


def test_every_folder_with_python_in_it_is_a_package() -> None:
    folders = {path.parent for folder in SOURCES for path in files(folder, ".py")}
    assert not [str(folder.relative_to(ROOT)) for folder in sorted(folders) if not (folder / "__init__.py").is_file()]


@pytest.mark.parametrize("folder", LINKED)
def test_the_link_to_a_folder_is_a_link(folder: str) -> None:
    link = ROOT / PACKAGE / folder
    assert link.is_symlink()
    assert link.readlink() == Path("..") / folder
    listed = subprocess.run(
        ["git", "ls-files", "-s", f"{PACKAGE}/{folder}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert listed.stdout.startswith("120000 "), "committed as something else than a symbolic link"


IMPORT_ALL = """
import importlib, os, pkgutil, sys
import plinio_deploy

for info in pkgutil.walk_packages(plinio_deploy.__path__, "plinio_deploy."):
    if not info.name.endswith("__main__"):
        importlib.import_module(info.name)
names = {}
for name, module in list(sys.modules.items()):
    path = getattr(module, "__file__", None) or ""
    if os.path.isabs(path) and os.path.realpath(path).startswith(ROOT) and "/.venv/" not in path:
        path = os.path.realpath(path)
        names.setdefault(path, []).append(name)
print(len(names))
for path, found in names.items():
    top = found[0].split(".")[0]
    assert len(found) == 1 and top == "plinio_deploy", (path, found)
"""


def test_no_module_is_imported_under_two_names() -> None:
    """From the root of a checkout `import targets` works, and makes second copies of classes."""
    code = IMPORT_ALL.replace("ROOT", repr(f"{ROOT}/"))
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) >= len(packages())


def test_every_direct_dependency_is_pinned() -> None:
    pinned = {
        canonical(line.split("==")[0]) for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
    }
    wanted = [*project()["project"]["dependencies"], *project()["dependency-groups"]["dev"]]
    names = {canonical(found[0]) for line in wanted if (found := re.match(r"[A-Za-z0-9._-]+", line))}
    assert len(names) == len(wanted)
    assert not names - pinned


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names in a wheel built from a copy of the tree, without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "source"
    for name in (*SOURCES, "pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).is_dir():
            skipped = shutil.ignore_patterns("__pycache__", *(LINKED if name == PACKAGE else ()))
            shutil.copytree(ROOT / name, copy / name, ignore=skipped)
        else:
            shutil.copy(ROOT / name, copy / name)
    arguments = ["wheel", "-q", "--no-build-isolation", "--no-deps", "--no-index", "-w", str(folder), str(copy)]
    done = subprocess.run([sys.executable, "-m", "pip", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return archive.namelist()


@pytest.mark.slow
def test_the_wheel_holds_every_source_and_data_file(wheel: list[str]) -> None:
    """The copy has no links: this is also what a checkout without symbolic links builds."""
    wanted = {shipped(path) for folder in SOURCES for path in files(folder, ".py", *DATA_SUFFIXES)}
    assert not sorted(wanted - set(wheel))


@pytest.mark.slow
def test_the_wheel_installs_nothing_else(wheel: list[str]) -> None:
    assert {name.split("/")[0].split("-")[0] for name in wheel} == {PACKAGE}
    assert not [name for name in wheel if "/tests/" in name or name.endswith((".pyc", ".md"))]
    assert f"{PACKAGE}/py.typed" in wheel
    assert [name for name in wheel if name.endswith("licenses/LICENSE")]
