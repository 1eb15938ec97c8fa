# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path

import pytest

from plinio_deploy.errors import InvalidTargetFile, UnknownTarget
from plinio_deploy.targets import registry

ISSUE_A = {
    "host",
    "cortex-m0plus",
    "cortex-m3",
    "cortex-m4",
    "cortex-m7",
    "cortex-m33",
    "cortex-m55",
    "rv32imc",
}


def board(name: str, description: str = "mine") -> str:
    text = (registry.BOARDS / "cortex-m4.toml").read_text()
    lines = [f'name = "{name}"' if line.startswith("name") else line for line in text.splitlines()]
    return "\n".join(f'description = "{description}"' if line.startswith("description") else line for line in lines)


def test_the_targets_that_we_promise_exist() -> None:
    assert set(registry.names()) >= ISSUE_A
    assert list(registry.names()) == sorted(registry.names())


def test_an_unknown_name_gets_close_matches() -> None:
    with pytest.raises(UnknownTarget) as caught:
        registry.load("cortex-m44")
    assert "did you mean 'cortex-m4'?" in caught.value.hints
    assert "cortex-m7" in str(caught.value.expected)
    assert caught.value.exit_code == 2


def test_a_folder_of_the_users_own_adds_and_hides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        (folder / "my-board.toml").write_text(board("my-board", folder.name))
    (second / "cortex-m4.toml").write_text(board("cortex-m4", "hidden"))
    monkeypatch.setenv(registry.FOLDERS_VARIABLE, os.pathsep.join([str(first), "", str(second)]))
    assert "my-board" in registry.names()
    assert registry.load("my-board").description == "first"
    assert registry.load("cortex-m4").description == "hidden"
    assert registry.load("cortex-m7").source == str(registry.BOARDS / "cortex-m7.toml")


def test_a_file_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "lab.toml"
    path.write_text(board("lab"))
    assert registry.load(str(path)).name == "lab"


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnknownTarget) as caught:
        registry.load(str(tmp_path / "no.toml"))
    assert caught.value.where == str(tmp_path / "no.toml")


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidTargetFile):
        registry.load(str(tmp_path / "bytes.toml"))


def test_a_folder_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(registry.FOLDERS_VARIABLE, str(tmp_path / "no"))
    with pytest.raises(InvalidTargetFile, match="names a folder that does not exist"):
        registry.names()
