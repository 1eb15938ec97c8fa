# SPDX-License-Identifier: Apache-2.0
"""The setup script on machines that lack something; every program it calls is a stand-in, nothing is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ci.tree import ROOT

BASICS = ("sh", "cat", "cut", "dirname", "env", "mktemp", "rm", "sha256sum", "tail", "mkdir", "chmod", "cp", "touch")
TOOLS = (
    "gcc", "g++", "make", "cmake", "clang", "git", "arm-none-eabi-gcc", "riscv64-unknown-elf-gcc", "qemu-system-arm",
    "qemu-system-riscv32",
)  # fmt: skip
COMPILER = 'echo "/lib/${1#*=}"'
"""A compiler that finds every library it is asked for."""
PYTHON = """
echo "python $*" >> "$LOG"
case "$*" in *"-m venv"*) for last; do :; done; mkdir -p "$last/bin"; cp "$0" "$last/bin/python" ;; esac
"""


class Machine:
    """A checkout and a PATH with stand-ins only."""

    def __init__(self, folder: Path) -> None:
        self.checkout = folder / "checkout"
        self.bin = folder / "bin"
        self.log = folder / "log"
        (self.checkout / "ci").mkdir(parents=True)
        self.bin.mkdir()
        for name in ("ci/setup.sh", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, self.checkout / name)
        for name in BASICS:
            (self.bin / name).symlink_to(str(shutil.which(name)))
        self.program("id", "echo 1000")
        self.program("python3", PYTHON)
        for name in TOOLS:
            self.program(name, COMPILER)

    def program(self, name: str, text: str) -> None:
        """Put a shell script into PATH."""
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def apt_get(self, *brings: str) -> None:
        """An apt-get, and a root to run it, that brings some programs."""
        self.program("id", "echo 0")
        install = "".join(f'cp "{self.bin}/gcc" "{self.bin}/{name}"; ' for name in brings)
        self.program("apt-get", f'echo "apt-get $*" >> "$LOG"; case "$*" in *install*) {install} : ;; esac')

    def setup(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the script."""
        return subprocess.run(
            ["sh", "ci/setup.sh", *arguments],
            cwd=self.checkout,
            env={"PATH": str(self.bin), "LOG": str(self.log), "TMPDIR": str(self.checkout)},
            capture_output=True,
            text=True,
        )

    def calls(self, program: str) -> list[str]:
        """Command lines that a program was called with."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line for line in lines if line.startswith(program)]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_machine_with_every_tool_needs_no_apt_get(machine: Machine) -> None:
    done = machine.setup()
    assert done.returncode == 0, done.stderr
    pip = [line for line in machine.calls("python") if "-m pip" in line]
    assert len([line for line in pip if "-c constraints.txt" in line]) == 3
    assert any("--group dev" in line for line in pip)


def test_the_second_run_does_nothing(machine: Machine) -> None:
    machine.setup()
    machine.log.unlink()
    assert machine.setup().returncode == 0
    assert not [line for line in machine.calls("python") if "pip" in line or "venv " in line]
    assert machine.setup("--check").returncode == 0


def test_another_dependency_runs_pip_again(machine: Machine) -> None:
    machine.setup()
    machine.log.unlink()
    (machine.checkout / "constraints.txt").write_text("numpy==2.4.5\n")
    assert machine.setup("--check").returncode == 3
    assert machine.setup().returncode == 0
    assert [line for line in machine.calls("python") if "--group dev" in line]


def test_without_apt_get_one_sentence_says_what_to_install(machine: Machine) -> None:
    (machine.bin / "arm-none-eabi-gcc").unlink()
    done = machine.setup()
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        "setup: tools are missing and there is no apt-get here. Install these (Debian and Ubuntu names) and try again: "
        "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi\n"
    )
    assert not machine.calls("python -m")


@pytest.mark.parametrize("sudo", [None, "exit 1"], ids=["no sudo", "sudo wants a password"])
def test_without_root_nothing_is_tried(machine: Machine, sudo: str | None) -> None:
    machine.apt_get()
    machine.program("id", "echo 1000")
    if sudo is not None:
        machine.program("sudo", sudo)
    (machine.bin / "cmake").unlink()
    done = machine.setup()
    assert done.returncode == 3
    assert "apt-get needs root" in done.stderr
    assert "apt-get install cmake\n" in done.stderr
    assert machine.calls("apt-get") == []


def test_sudo_that_asks_nothing_is_used(machine: Machine) -> None:
    machine.apt_get("cmake")
    machine.program("id", "echo 1000")
    machine.program("sudo", 'shift; "$@"')
    (machine.bin / "cmake").unlink()
    done = machine.setup()
    assert done.returncode == 0, done.stderr
    assert machine.calls("apt-get")[-1].endswith("install --no-install-recommends cmake")


def test_root_installs_only_what_is_missing(machine: Machine) -> None:
    machine.apt_get("clang", "qemu-system-riscv32")
    (machine.bin / "clang").unlink()
    (machine.bin / "qemu-system-riscv32").unlink()
    done = machine.setup()
    assert done.returncode == 0, done.stderr
    update, install = machine.calls("apt-get")
    assert update.endswith("update")
    assert install.endswith("install --no-install-recommends clang qemu-system-misc")


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (lambda machine: machine.program("apt-get", "exit 100"), "apt-get could not install what is missing"),
        (lambda machine: machine.apt_get(), "still missing after apt-get: cmake"),
    ],
    ids=["apt-get fails", "apt-get brings nothing"],
)
def test_an_apt_get_that_does_not_help_is_reported(
    machine: Machine, broken: Callable[[Machine], None], sentence: str
) -> None:
    broken(machine)
    machine.program("id", "echo 0")
    (machine.bin / "cmake").unlink()
    done = machine.setup()
    assert done.returncode == 3
    assert sentence in done.stderr


def test_a_compiler_without_its_library_is_not_enough(machine: Machine) -> None:
    machine.program("riscv64-unknown-elf-gcc", 'echo "${1#*=}"')
    done = machine.setup("--check")
    assert done.returncode == 3
    assert done.stderr == "setup: missing: picolibc-riscv64-unknown-elf\n"


def test_a_pip_that_fails_leaves_no_stamp(machine: Machine) -> None:
    machine.program("python3", PYTHON + 'case "$*" in *"--group dev"*) exit 1 ;; esac')
    done = machine.setup()
    assert done.returncode == 3
    assert "pip could not install" in done.stderr
    assert machine.setup("--check").returncode == 3


def test_the_script_is_plain_sh() -> None:
    done = subprocess.run(
        ["sh", "-n", str(ROOT / "ci" / "setup.sh")], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
